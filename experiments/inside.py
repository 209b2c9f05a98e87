"""What runs of the MLP observed of its layers (`observe`), as a record: a row a run, step and layer."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

import numpy as np

from bn.config import MlpModel
from bn.run.directory import RunDirectory, read_lines
from experiments import collected

NETWORKS = ("mnist_baseline", "mnist_bn")
WHO = ("network", "lr", "seed", "step", "layer")


class Row(NamedTuple):
    network: str
    lr: float
    seed: int
    step: int
    layer: int  # hidden layers count from 1
    numbers: dict[str, float]  # those that were observed then


def write(path: Path, runs: Sequence[RunDirectory], names: Sequence[str], every: int = 1) -> None:
    """The numbers `observe/<name>/<layer>` of each of `names`, at steps that are multiples of `every`.

    They have five digits; a cell is empty where there is none.
    """
    rows = [
        (run.config.experiment, run.config.optim.lr, run.config.seed, step, layer, *shown)
        for run in runs
        for step, layer, numbers in observed(run, names)
        if step % every == 0
        for shown in [(f"{numbers[name]:.5g}" if name in numbers else "" for name in names)]
    ]
    collected.write_csv(path, (*WHO, *names), rows)


def observed(run: RunDirectory, names: Sequence[str]) -> list[tuple[int, int, dict[str, float]]]:
    """Step, layer and numbers, where a run of the MLP observed any of `names`."""
    assert isinstance(run.config.model, MlpModel)
    layers = range(1, len(run.config.model.hidden) + 1)
    found = []
    for line in read_lines(run.path / "metrics.jsonl"):
        for layer in layers:
            keys = {name: f"observe/{name}/layer{layer}" for name in names}
            if numbers := {name: line[key] for name, key in keys.items() if key in line}:
                found.append((line["step"], layer, numbers))
    return found


def read(path: Path) -> list[Row]:
    """What `write` wrote."""
    return [
        Row(
            row["network"], float(row["lr"]), int(row["seed"]), int(row["step"]), int(row["layer"]),
            {name: float(value) for name, value in list(row.items())[len(WHO) :] if value},
        )
        for row in collected.read_csv(path)
    ]  # fmt: skip


def by_seed(
    rows: Sequence[Row], name: str, together: Callable[[Sequence[float]], float] = fmean, **where: Any
) -> list[float]:
    """A number of each seed, in the order of the seeds: `together` of those in the rows where `where` holds.

    `where`: what fields are, such as layer=3, or a tuple that they are in, such as step=(0, 100). Raises
    ValueError if no row has such a number.
    """
    found: dict[int, list[float]] = defaultdict(list)
    for row in rows:
        if name in row.numbers and all(_is(getattr(row, key), value) for key, value in where.items()):
            found[row.seed].append(row.numbers[name])
    if not found:
        raise ValueError(f"{name}: no row with {where}")
    return [together(found[seed]) for seed in sorted(found)]


def _is(found: Any, wanted: Any) -> bool:
    return found in wanted if isinstance(wanted, tuple) else found == wanted


def path(rows: Sequence[Row], name: str, **where: Any) -> tuple[list[int], np.ndarray]:
    """A number through the training: its steps, and (seeds, steps); several rows of a step are averaged."""
    steps = sorted({row.step for row in rows if name in row.numbers})
    return steps, np.array([by_seed(rows, name, step=step, **where) for step in steps]).T
