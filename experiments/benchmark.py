"""The speed of the MNIST network's training step against its floor, as scripts/benchmark.py measured it.

    python scripts/benchmark.py --compiled --save

The floor is the step's matrix products alone, timed in the same process. The other records in the folder come
from scripts/benchmark_images.py, benchmark_data.py and benchmark_cluster.py. Each record has one table.
"""

from pathlib import Path
from typing import Any

from bn.files import Damaged, read_record
from experiments import benchmark_cluster, benchmark_data, benchmark_images


def draw(folder: Path, out: Path) -> None:
    """<record>.md for each <record>.json."""
    for path in sorted(folder.glob("*.json")):
        document = read_record(path, {"kind?": str, "environment?": dict})
        if "environment" in document:  # a record, and not what committed.py writes beside them
            kind = document.get("kind", "step")
            if kind not in TABLES:
                raise Damaged(path, f"kind={kind}, of {', '.join(TABLES)}")
            (out / f"{path.stem}.md").write_text(TABLES[kind](document))


def table(document: dict[str, Any]) -> str:
    """Milliseconds a step and their ratio to the floor; what records and a full training cost."""
    steps = document["ms_per_step"]
    floor = next(iter(steps.values()))  # comes first
    lines = [
        "| one step, 60 examples | without BN: ms | x floor | with BN: ms | x floor |",
        "|---|--:|--:|--:|--:|",
    ]
    for name, (a, b) in steps.items():
        lines.append(f"| {name} | {a:.3f} | {a / floor[0]:.2f} | {b:.3f} | {b / floor[1]:.2f} |")
    env = document["environment"]
    without, with_bn = document["records_share"]
    lines += [
        "",
        "All records of a training (evaluations, percentiles, Algorithm 2, logging, checkpoints) cost "
        f"{100 * without:.1f}% on top of its steps without BN, {100 * with_bn:.1f}% with BN.",
    ]
    if document["full_training_s"] is not None:
        lines.append(
            "Both networks' 50,000 steps with all records, side by side, from command to last record: "
            f"{document['full_training_s']:.0f} s."
        )
    threads = document["threads"]
    lines.append(
        f"{document['device']}, {threads} thread{'s' * (threads > 1)}, torch {env['torch']}, "
        f"{env['time'][:10]}; median of {document['rounds']} rounds."
    )
    return "\n".join(lines) + "\n"


# By the kind of the record.
TABLES = {
    "step": table,
    "images": benchmark_images.table,
    "data": benchmark_data.table,
    "cluster": benchmark_cluster.table,
}
