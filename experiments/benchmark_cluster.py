"""What SLURM adds to the training of a sweep's member, as scripts/benchmark_cluster.py measured it.

python scripts/slurm/throwaway_cluster.py python scripts/benchmark_cluster.py --save
"""

from typing import Any

ALONE = "a run as a command of its own"
MEMBER = "a member more of a sweep on SLURM, one at a time"


def table(document: dict[str, Any]) -> str:
    """Seconds of a run of one step in each way, and milliseconds of each record."""
    env = document["environment"]
    seconds = document["seconds"]
    alone, member = seconds[ALONE], seconds[MEMBER]
    return "\n".join([
        "| a run of one step of MNIST | seconds |",
        "|---|--:|",
        *(f"| {what} | {value:.2f} |" for what, value in seconds.items()),
        "",
        "| records of a job | ms |",
        "|---|--:|",
        *(f"| {what} | {milliseconds:.3g} |" for what, milliseconds in document["records_ms"].items()),
        "",
        f"A member of a sweep takes {member - alone:.1f} s more on SLURM than the same run on its own.",
        f"{document['device']}, {document['slurm']} on the same machine, torch {env['torch']}, "
        f"{env['time'][:10]}; median of {document['rounds']} rounds, records of 20.",
    ]) + "\n"  # fmt: skip
