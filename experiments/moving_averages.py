"""Moving averages against Algorithm 2 (section 3.1, claim 27): "Using moving averages instead, we can track
the accuracy of a model as it trains".

    python scripts/reproduce.py moving_averages     3 rates x 5 seeds of Figure 1's training
                                                    (configs/sweep/moving_averages.yaml)

The network of Figure 1 with BN at learning rates 0.1 (the figure's), 1 and 10: its accuracy by moving
averages and by Algorithm 2 at each of the 28 evaluations. Measured numbers, with n:
results/moving_averages/table.md.

Decisions that the rule left open: "the two differ by less than 0.5 points on average" is about the mean over
evaluations and seeds of the absolute difference, in points of test accuracy. During training, Algorithm 2
uses the same mini-batches as at the end.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bn.run.directory import RunDirectory, read_lines
from experiments import collected, selection, style

SWEEPS = {"moving_averages": ()}
ACCURACIES = ("test/accuracy", "test/accuracy_population")
EARLY = 1_000  # last step of the table's early part
STYLES = (  # by learning rate, from the smallest
    {"color": "#56B4E9", "linestyle": (0, (4, 1.5))},
    {"color": "#0072B2", "linestyle": "-"},
    {"color": "#000000", "linestyle": (0, (1, 1.2))},
)

Paths = dict[float, tuple[np.ndarray, np.ndarray]]  # learning rate: steps (T,), accuracies (seeds, T, 2)


def collect(runs: Sequence[RunDirectory], folder: Path) -> None:
    """Write accuracy.csv (one row per evaluation) and runs.json."""
    collected.check_all_ended(runs)
    rows = [
        (f"{run.config.optim.lr:g}", run.config.seed, line["step"], *(line[key] for key in ACCURACIES))
        for run in collected.ended(runs)
        for line in read_lines(run.path / "metrics.jsonl")
        if ACCURACIES[0] in line
    ]
    header = ("rate", "seed", "step", "test_accuracy", "test_accuracy_population")
    collected.write_csv(folder / "accuracy.csv", header, rows)
    collected.write_provenance(folder / "runs.json", runs)


def draw(folder: Path, out: Path) -> None:
    """Write moving_averages (png, svg, pdf) and table.md."""
    paths = read_paths(folder)
    _draw(paths, out / "moving_averages")
    (out / "table.md").write_text(_table(paths, collected.origin_in(folder)))


def read_paths(folder: Path) -> Paths:
    rows = collected.read_csv(folder / "accuracy.csv")
    found: Paths = {}
    for rate in sorted({float(row["rate"]) for row in rows}):
        own = [row for row in rows if float(row["rate"]) == rate]
        steps = sorted({int(row["step"]) for row in own})
        values = [[float(row["test_accuracy"]), float(row["test_accuracy_population"])] for row in own]
        found[rate] = np.array(steps), np.array(values).reshape(-1, len(steps), 2)
    return found


def apart(accuracies: np.ndarray) -> list[float]:
    """The mean absolute difference of the two accuracies, (seeds, T, 2), in points by seed."""
    return (100 * abs(accuracies[..., 0] - accuracies[..., 1])).mean(1).tolist()


def _draw(paths: Paths, stem: Path) -> None:
    fig, axis = style.figure(4.8, 3.0)
    for look, (rate, (steps, values)) in zip(STYLES, paths.items(), strict=True):
        difference = 100 * (values[..., 0] - values[..., 1])
        axis.plot(steps, difference.mean(0), label=f"learning rate {rate:g}", **look)
        axis.fill_between(steps, difference.min(0), difference.max(0), color=look["color"], alpha=0.2, lw=0)
    axis.axhline(0, color="0.5", lw=0.8, zorder=0)
    axis.set(
        xscale="log", xlabel="training step",
        ylabel="test accuracy, moving averages\nminus Algorithm 2 (points)",
    )  # fmt: skip
    style.thousands(axis.xaxis)
    axis.legend(loc="lower right")
    style.save(fig, stem)


def _table(paths: Paths, origin: str) -> str:
    lines = [
        "| learning rate | difference, all evaluations (points) | difference, up to step 1,000 | largest "
        "difference | at the end: moving averages (%) | at the end: Algorithm 2 (%) |",
        "|--:|---|---|---|---|---|",
    ]
    for rate, (steps, values) in paths.items():
        largest = 100 * abs(values[..., 0] - values[..., 1]).max(1)
        cells = [
            f"{rate:g}",
            collected.mean_text(apart(values), 2),
            collected.mean_text(apart(values[:, steps <= EARLY]), 2),
            collected.summary(largest.tolist(), selection.APART),
            *(collected.summary((100 * values[:, -1, i]).tolist(), selection.APART) for i in (0, 1)),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    steps, values = next(iter(paths.values()))
    return collected.document(
        lines,
        "The network of Figure 1 with BN trains at three learning rates. The table compares its test "
        f"accuracy by moving averages and by Algorithm 2's statistics, at {len(steps)} evaluations from "
        f"step {steps[0]:,} to {steps[-1]:,}. Differences are absolute: the mean or the largest over a "
        "seed's evaluations.",
        f"{collected.means(collected.seeds_text([len(values)]))} {selection.APART_NOTE}",
        origin,
    )
