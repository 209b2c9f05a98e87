"""What a member of a sweep costs on SLURM on top of its training: scripts/benchmark_cluster.py.

python scripts/slurm/throwaway_cluster.py python scripts/benchmark_cluster.py --save
"""

from typing import Any


def table(document: dict[str, Any]) -> str:
    """Seconds of a run of one step in each way, and milliseconds of each record."""
    env = document["environment"]
    return "\n".join([
        "| a run of one step of MNIST | seconds |",
        "|---|--:|",
        *(f"| {what} | {seconds:.2f} |" for what, seconds in document["seconds"].items()),
        "",
        "| records of a job | ms |",
        "|---|--:|",
        *(f"| {what} | {milliseconds:.3g} |" for what, milliseconds in document["records_ms"].items()),
        "",
        f"{document['device']}, {document['slurm']} on the same machine, torch {env['torch']}, "
        f"{env['time'][:10]}; median of {document['rounds']} rounds, records of 20.",
    ]) + "\n"  # fmt: skip
