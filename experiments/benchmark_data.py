"""The throughput of the loaders, as scripts/benchmark_data.py measured it.

    python scripts/benchmark_data.py --save

Images per second and core (or of a GPU and its workers, in the record of a GPU), beside torchvision's usual
pipeline. The images are generated (experiments/photographs.py).
"""

from typing import Any


def table(document: dict[str, Any]) -> str:
    """Images per second of each way to make mini-batches, and its ratio to the usual way's."""
    lines = []
    each = "images/s" if document["workers"] else "images/s and core"
    for title, found in document["images_per_second"].items():
        usual = next(iter(found.values()))  # comes first
        lines += [f"| {title} | {each} | x usual |", "|---|--:|--:|"]
        lines += [f"| {name} | {rate:,.0f} | {rate / usual:.2f} |" for name, rate in found.items()]
        lines.append("")
    env = document["environment"]
    count = document["workers"]
    workers = f"{count} worker{'s' * (count > 1)}" if count else "no workers, 1 thread"
    lines.append(
        f"{document['device']}, {workers}, mini-batches of {document['batch']}, files in memory "
        f"({document['kilobytes']:.0f} KB each at 500x375), torch {env['torch']}, {env['time'][:10]}; "
        f"median of {document['rounds']} rounds."
    )
    return "\n".join(lines) + "\n"
