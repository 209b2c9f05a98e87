"""Whitening (section 2): the gain from whitened inputs, and the cost of whitening each layer's inputs.

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
ones are (Cov[x] + 0.01)^(-1/2) (x - E[x]) (bn/data/inputs.py). Seed 0 chooses the learning rate of each form:
the one with the fewest steps to 85% on 10,000 held-out training examples. The reported steps are those to 85%
test accuracy at the chosen learning rate, of 5 seeds, evaluated every 5 steps and interpolated.

The cost is that of the cheapest full whitening of a convolution's input: over its channels, with locations as
examples, in a mini-batch of 32 images of 224 pixels. It consists of the covariance (C x C) and its inverse
square root by an eigendecomposition, without the product with the input and without gradients. This is a
lower bound, because a convolution's full input is a patch, nine times as wide for 3x3. Time is CPU time on
one core; the layer's time is the convolution's forward pass alone. The separable first convolution whitens
its three colors. Multiply-adds are m C^2 for the covariance of m locations, and 10 C^3 for the inverse
square root, a usual estimate.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bn.config import MnistData
from bn.errors import UserError
from bn.run.directory import RunDirectory, read_lines
from experiments import collected, style

SWEEPS = {"whitening": ()}
INPUTS = ("binary", "standardized", "whitened")
LABEL = {"binary": "raw", "standardized": "standardized", "whitened": "whitened"}
LEVEL = 0.85
PATCHES: dict[tuple[int, ...], dict[str, Any]] = {
    (1,): {"label": "1x1", "marker": "o", "color": style.WITH["color"]},
    (3, 7): {"label": "3x3, and the first 7x7", "marker": "^", "color": style.WITHOUT["color"]},
}
HEADER = ("inputs", "lr", "seed", "state", "steps_validation", "steps_test", "test_accuracy")


class Run(NamedTuple):
    """One training: the steps to LEVEL on held-out and on test examples; None if it is never reached."""

    inputs: str
    lr: float
    seed: int
    validation: float | None
    test: float | None


def collect(runs: Sequence[RunDirectory], folder: Path) -> None:
    """Write steps.csv (one row per run) and runs.json."""
    _write(runs, folder / "steps.csv")
    collected.write_provenance(folder / "runs.json", runs)


def further_sweeps(folder: Path) -> list[tuple[str, tuple[str, ...]]]:
    """The further seeds of each form of the images, at its chosen learning rate."""
    rates = chosen(read(folder / "steps.csv"))
    return [("whitening_chosen", (f"data.inputs={name}", f"optim.lr={rates[name]:g}")) for name in INPUTS]


def collect_further(runs: Sequence[RunDirectory], folder: Path) -> None:
    """Write further_seeds.csv (one row per run) and further_seeds_runs.json."""
    _write(runs, folder / "further_seeds.csv")
    collected.write_provenance(folder / "further_seeds_runs.json", runs)


def _write(runs: Sequence[RunDirectory], path: Path) -> None:
    collected.check_all_ended(runs)  # the choice needs all of them, and seeds are compared pairwise
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
    """For each form of the images, the learning rate with the fewest steps to LEVEL on held-out examples."""
    rates = {}
    for name in INPUTS:
        reached = [(run.validation, run.lr) for run in runs if run.inputs == name and run.validation]
        if not reached:
            raise UserError(f"data.inputs={name}: no learning rate reaches {LEVEL:.0%} on held-out examples")
        rates[name] = min(reached)[1]
    return rates


def five_seeds(folder: Path) -> dict[str, list[Run]]:
    """The trainings of each form of the images at its chosen learning rate. UserError if one differs."""
    first, path = read(folder / "steps.csv"), folder / "further_seeds.csv"
    rates, further = chosen(first), read(path)
    if {(run.inputs, run.lr) for run in further} != set(rates.items()):
        raise UserError(
            f"{path}: does not have the chosen rates: "
            f"python scripts/reproduce.py {folder.name} --further-only"
        )
    return {
        name: [run for run in (*first, *further) if (run.inputs, run.lr) == (name, rates[name])]
        for name in INPUTS
    }


def times_fewer(raw: Sequence[Run], other: Sequence[Run]) -> list[float] | None:
    """The steps on raw images over those on the others, by seed; None if any is missing."""
    ratios = [
        one.test / another.test for one, another in zip(raw, other, strict=True) if one.test and another.test
    ]
    return ratios if len(ratios) == len(raw) else None


class Cost(NamedTuple):
    """The cost of one convolution of Inception, and of fully whitening its input, for a mini-batch."""

    name: str
    channels: int  # in the input
    patch: int  # its side
    layer_multiply_adds: float
    whitening_multiply_adds: float
    layer_s: float
    whitening_s: float


def read_costs(folder: Path) -> list[Cost]:
    document = collected.read_json(folder / "cost.json", {"layers": [dict]})
    return [Cost(**layer) for layer in document["layers"]]


def draw(folder: Path, out: Path) -> None:
    """Write whitening (png, svg, pdf), table.md (steps) and cost.md."""
    (out / "table.md").write_text(_table(folder))
    costs = read_costs(folder)
    document = collected.read_json(folder / "cost.json", {"environment": dict, "rounds": int})
    _draw(costs, out / "whitening")
    (out / "cost.md").write_text(_cost_table(costs, document))


def _table(folder: Path) -> str:
    groups = five_seeds(folder)
    raw = groups[INPUTS[0]]
    lines = [
        f"| images | learning rate | steps to {LEVEL:.0%} | times fewer than raw | seeds |",
        "|---|--:|---|---|--:|",
    ]
    for name, group in groups.items():
        steps = [run.test for run in group if run.test is not None]
        reached = collected.mean_text(steps, 1) if len(steps) == len(group) else "not all seeds reach it"
        ratios = times_fewer(raw, group) if name != INPUTS[0] else None
        fewer = collected.ratio_text(ratios) if ratios else "-"
        lines.append(f"| {LABEL[name]} | {group[0].lr:g} | {reached} | {fewer} | {len(group)} |")
    document = collected.read_json(folder / "runs.json")
    further = collected.read_json(folder / "further_seeds_runs.json")
    runs = {"runs": [*document["runs"], *further["runs"]]}
    rates = sorted({run.lr for run in read(folder / "steps.csv")})
    return collected.document(
        lines,
        f"Softmax regression trains in mini-batches of {document['config']['optim.batch']}. Steps are those "
        f"to {LEVEL:.0%} test accuracy. {collected.means('the seeds')} {collected.RATIOS}",
        f"The learning rate is the best of {', '.join(f'{rate:g}' for rate in rates)} on 10,000 held-out "
        "training examples. It was chosen with seed 0, which is one of the five.",
        collected.origin(runs),
    )


def _draw(costs: Sequence[Cost], stem: Path) -> None:
    fig, axis = style.figure(6.6, 3.3)
    for patches, look in PATCHES.items():
        own = [(i, cost) for i, cost in enumerate(costs) if cost.patch in patches]
        axis.plot(
            [i for i, _ in own], [cost.whitening_s / cost.layer_s for _, cost in own], linestyle="none", ms=5,
            **look,
        )  # fmt: skip
    axis.axhline(1, color="0.4", lw=0.9, zorder=0)
    axis.annotate(
        "as long as the layer", (0, 1), (3, 3), xycoords=("axes fraction", "data"),
        textcoords="offset points", fontsize=8, color="0.4",
    )  # fmt: skip
    axis.set(
        yscale="log", xlabel="convolutions of Inception, in order",
        ylabel="time of whitening its input\nover the time of the layer",
    )  # fmt: skip
    axis.legend(loc="best")
    style.save(fig, stem)


def _cost_table(costs: Sequence[Cost], document: Mapping[str, Any]) -> str:
    lines = [
        "| convolutions | number | whitening takes longer than the layer "
        "| multiply-adds, whitening over layer | time, whitening over layer |",
        "|---|--:|--:|--:|--:|",
    ]
    groups = {look["label"]: [c for c in costs if c.patch in patches] for patches, look in PATCHES.items()}
    for name, group in {**groups, "all": list(costs)}.items():
        longer = sum(cost.whitening_s > cost.layer_s for cost in group)
        work, time = (
            sum(getattr(cost, f"whitening_{unit}") for cost in group)
            / sum(getattr(cost, f"layer_{unit}") for cost in group)
            for unit in ("multiply_adds", "s")
        )
        lines.append(f"| {name} | {len(group)} | {longer} | {work:.2f} | {time:.2f} |")
    env = document["environment"]
    return collected.document(
        lines,
        "The costs are those of one forward pass of Inception at full width, with a mini-batch of 32 images "
        "of 224 pixels. Whitening consists of the covariance of the input's channels and its inverse square "
        "root. Each ratio is one of sums over the convolutions of the row.",
        f"Time is CPU time on one core of {env['processor'].partition(',')[0]}, with torch {env['torch']}: "
        f"the median of {document['rounds']} rounds.",
    )
