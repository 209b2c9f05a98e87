"""The tables of results/benchmark: <record>.md for each <record>.json, drawn by the module that measured it.

python scripts/make_figures.py benchmark
"""

import json
from pathlib import Path

from benchmarks import inception, loaders, mnist, slurm

TABLES = {"step": mnist.table, "images": inception.table, "data": loaders.table, "cluster": slurm.table}


def draw(folder: Path, out: Path) -> None:
    for path in sorted(folder.glob("*.json")):
        document = json.loads(path.read_text())
        if "environment" in document:  # a record, and not what committed.py writes beside them
            kind = document.get("kind", "step")
            (out / f"{path.stem}.md").write_text(TABLES[kind](document))
