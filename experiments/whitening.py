"""Whitening (section 2): what whitened inputs are worth, and what whitening each layer's inputs would cost.

    python scripts/reproduce.py whitening     softmax regression on 3 forms of the images x 8 learning rates
                                              (configs/sweep/whitening.yaml), then 4 further seeds of the
                                              chosen rates (configs/sweep/whitening_chosen.yaml)
    python benchmarks/whitening.py --save     the time of whitening, layer by layer

The paper begins with LeCun's finding that "network training converges faster if its inputs are whitened", and
turns to the normalization of single units because full whitening of each layer's inputs is "expensive, as it
requires computing the covariance matrix and its inverse square root". Measured numbers, with n:
results/whitening/table.md and cost.md.

Decisions, made before the runs. Softmax regression on binary MNIST, mini-batches of 60, 300 steps, initial
weights of standard deviation 0.01. Standardized images have mean 0 and variance 1 in each pixel; whitened
ones are (Cov[x] + 0.01)^(-1/2) (x - E[x]) (bn/data/inputs.py). The rate is chosen for each form by seed 0: the one that takes the fewest steps to 85% on 10,000 held-out training examples. Steps are those to 85%
test accuracy at the chosen rate, of 5 seeds, evaluated every 5 steps and interpolated.

The cost is that of the cheapest full whitening of a convolution's input: over its channels, the locations as
examples, in a mini-batch of 32 images of 224 pixels. It is the covariance (C x C) and its inverse square root
by an eigendecomposition, without the product with the input and without gradients. A convolution's own input
is a whole patch, for 3x3 nine times as wide, so this is a lower bound. Time is CPU time on one core; the
layer is the convolution's forward pass alone. The separable first convolution whitens its three colours.
Multiply-adds are m C^2 for the covariance of m locations, and 10 C^3 for the inverse square root, a usual
estimate.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bn.config import MnistData
from bn.errors import UserError
from bn.run.directory import RunDirectory, read_lines
from experiments import collected

SWEEPS = {"whitening": ()}
INPUTS = ("binary", "standardized", "whitened")
LEVEL = 0.85
HEADER = ("inputs", "lr", "seed", "state", "steps_validation", "steps_test", "test_accuracy")


class Run(NamedTuple):
    """One training: the steps to LEVEL on held-out and on test examples, None where it does not get there."""

    inputs: str
    lr: float
    seed: int
    validation: float | None
    test: float | None


def collect(runs: Sequence[RunDirectory], folder: Path) -> None:
    """steps.csv (one row a run) and runs.json."""
    _write(runs, folder / "steps.csv")
    collected.write_provenance(folder / "runs.json", runs)


def further_sweeps(folder: Path) -> list[tuple[str, tuple[str, ...]]]:
    """The further seeds of each form of the images, at its chosen rate."""
    rates = chosen(read(folder / "steps.csv"))
    return [("whitening_chosen", (f"data.inputs={name}", f"optim.lr={rates[name]:g}")) for name in INPUTS]


def collect_further(runs: Sequence[RunDirectory], folder: Path) -> None:
    """Of the further seeds: further_seeds.csv (one row a run) and further_seeds_runs.json."""
    _write(runs, folder / "further_seeds.csv")
    collected.write_provenance(folder / "further_seeds_runs.json", runs)


def _write(runs: Sequence[RunDirectory], path: Path) -> None:
    collected.check_all_ended(runs)  # a choice is among all of them, and seeds are compared one by one
    rows = []
    for run in collected.ended(runs):
        assert isinstance(run.config.data, MnistData)
        lines = [line for line in read_lines(run.path / "metrics.jsonl") if "test/accuracy" in line]
        reached = (_reached(lines, f"{split}/accuracy") for split in ("validation", "test"))
        rows.append((
            run.config.data.inputs, run.config.optim.lr, run.config.seed, run.status["state"], *reached,
            lines[-1]["test/accuracy"] if lines else "",
        ))  # fmt: skip
    collected.write_csv(path, HEADER, rows)


def _reached(lines: Sequence[dict[str, float]], key: str) -> str:
    steps, path = (np.array([line[name] for line in lines]) for name in ("step", key))
    return f"{collected.crossing(steps, path, LEVEL):.2f}" if (path >= LEVEL).any() else ""


def read(path: Path) -> list[Run]:
    return [
        Run(
            row["inputs"],
            float(row["lr"]),
            int(row["seed"]),
            *(float(row[name]) if row[name] else None for name in ("steps_validation", "steps_test")),
        )
        for row in collected.read_csv(path)
    ]


def chosen(runs: Sequence[Run]) -> dict[str, float]:
    """For each form of the images the rate that takes the fewest steps to LEVEL on held-out examples."""
    rates = {}
    for name in INPUTS:
        reached = [(run.validation, run.lr) for run in runs if run.inputs == name and run.validation]
        if not reached:
            raise UserError(f"data.inputs={name}: no rate reaches {LEVEL:.0%} on the held-out examples")
        rates[name] = min(reached)[1]
    return rates


def draw(folder: Path, out: Path) -> None:
    """table.md."""
    raise NotImplementedError
