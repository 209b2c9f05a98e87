"""The tables and plots of results/benchmark: <record>.md for each <record>.json, drawn by its benchmark.

python scripts/make_figures.py benchmark
"""

from pathlib import Path

from benchmarks import growth, inception, loaders, mnist, parts, slurm, start
from bn.files import Damaged, read_record

TABLES = {
    "step": mnist.table,
    "images": inception.table,
    "data": loaders.table,
    "parts": parts.table,
    "cluster": slurm.table,
    "growth": growth.table,
    "start": start.table,
}
PLOTS = {"growth": growth.plot}


def draw(folder: Path, out: Path) -> None:
    for path in sorted(folder.glob("*.json")):
        document = read_record(path, {"kind?": str, "environment?": dict})
        if "environment" in document:  # a record, not the drawn.json that experiments/drawing.py writes
            kind = document.get("kind", "step")
            if kind not in TABLES:
                raise Damaged(path, f"kind={kind}, of {', '.join(TABLES)}")
            (out / f"{path.stem}.md").write_text(TABLES[kind](document))
            if kind in PLOTS:
                PLOTS[kind](document, out / path.stem)
