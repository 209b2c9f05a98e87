"""Records of the observations that runs made of their layers (`observe`): one row per run, step and layer."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

import numpy as np

from bn.config import MlpModel
from bn.run.directory import RunDirectory, read_lines
from experiments import archived, collected

NETWORKS = ("mnist_baseline", "mnist_bn")
WHO = ("network", "lr", "seed", "step", "layer")


class Row(NamedTuple):
    network: str
    lr: float
    seed: int
    step: int
    layer: int  # from 1: among the hidden layers of the MLP, or `probe.layers` of Inception
    numbers: dict[str, float]  # observed at this step


def write(path: Path, runs: Sequence[RunDirectory], names: Sequence[str], every: int = 1) -> None:
    """Write the numbers `observe/<name>/<layer>` for each of `names`, at steps that are multiples of `every`.

    Numbers have five digits; missing ones are empty. A run whose directory is gone keeps its rows in `path`.
    """

    def who(run: RunDirectory) -> tuple[str, float, int]:
        return run.config.experiment, run.config.optim.lr, run.config.seed

    def rows_of(run: RunDirectory) -> list[archived.Cells]:
        return [
            (*who(run), step, layer, *(f"{numbers[name]:.5g}" if name in numbers else "" for name in names))
            for step, layer, numbers in observed(run, names)
            if step % every == 0
        ]

    archived.write_rows(path, (*WHO, *names), runs, who, rows_of)


def observed(run: RunDirectory, names: Sequence[str]) -> list[tuple[int, int, dict[str, float]]]:
    """Step, layer and numbers wherever a run observed any of `names`."""
    model = run.config.model
    layers = run.config.probe.layers
    if isinstance(model, MlpModel):
        layers = [f"layer{i}" for i in range(1, len(model.hidden) + 1)]
    found = []
    for line in read_lines(run.path / "metrics.jsonl"):
        for layer, layer_name in enumerate(layers, start=1):
            keys = {name: f"observe/{name}/{layer_name}" for name in names}
            if numbers := {name: line[key] for name, key in keys.items() if key in line}:
                found.append((line["step"], layer, numbers))
    return found


def read(path: Path) -> list[Row]:
    """Read the records of `write`."""
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
    """One number per seed, in order: `together` of the values of `name` in the rows that match `where`.

    `where`: the value of a field, such as layer=3, or a tuple of values, such as step=(0, 100). Raises
    ValueError if no row matches.
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
    """A number over the training: the steps, and values (seeds, steps) with the rows of a step averaged."""
    steps = sorted({row.step for row in rows if name in row.numbers})
    return steps, np.array([by_seed(rows, name, step=step, **where) for step in steps]).T
