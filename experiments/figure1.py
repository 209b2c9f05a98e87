"""Figure 1 (section 4.1): batch normalization trains the MNIST network faster, to a higher accuracy, and
keeps the distribution of the inputs to its sigmoids stable.

    python scripts/reproduce.py figure1     2 networks x 5 seeds x 50,000 steps (configs/sweep/figure1.yaml)

(a) Test accuracy against step, with moving averages: mean and range of the seeds. (b, c) The 15th, 50th and
85th percentiles of the input to the sigmoid of one typical unit of the last hidden layer, without and with
BN: the unit of seed 0, and the range of the five seeds' typical units. Color and dashes show the network, as
in (a); a label and the line width show the percentile.

Measured numbers, with n: results/figure1/table.md. Deviations and assumptions: the paper does not say how its
unit was chosen; ours is the one whose percentile curves are nearest to the layer's median curves
(`bn.observe.percentiles.typical_unit`), chosen for each run. Percentiles are taken over 10,020 training
images (167 mini-batches of 60) in training mode, interpolated linearly; with BN the input to the sigmoid is
BN's output. The paper's axis of (b, c) is -2 to 2. With BN the outer percentiles leave it during training, so
ours is wider, and the part beyond the paper's is shaded.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.patches import Rectangle

from bn.config import MlpModel
from bn.errors import UserError
from bn.observe.percentiles import typical_unit
from bn.run.directory import RunDirectory, read_lines
from experiments import collected, style

SWEEPS = {"figure1": ()}
NETWORKS = ("mnist_baseline", "mnist_bn")
LEVELS = (0.9, 0.95)
SETTLED = 2_500  # by this step the plain network's inputs have left their initial collapse
PAPERS_AXIS, AXIS = 2.0, 2.6  # of (b, c): the paper's, -2 to 2, and ours, which holds the lines with BN
PERCENTILES = (("15th", 1.1), ("50th", 2.0), ("85th", 1.1))  # name and width of the line
COLUMNS, CELL_RANGE = 10, 4  # of the figure of all units


def collect(runs: Sequence[RunDirectory], folder: Path) -> None:
    """Write accuracy.csv, percentiles.csv (last hidden layer, every unit), final.csv and runs.json."""
    collected.check_all_ended(runs)  # its seeds are compared pairwise
    runs = collected.ended(runs)
    accuracy, percentiles, final = [], [], []
    for run in runs:
        who = (run.config.experiment, run.config.seed)
        model = run.config.model
        assert isinstance(model, MlpModel)
        lines = read_lines(run.path / "metrics.jsonl")
        if run.status["state"] != "done":
            raise UserError(f"{run.name}: {run.status['state']}: the figure needs complete runs")
        for line in lines:
            if "test/accuracy" in line:
                accuracy.append((*who, line["step"], line["test/accuracy"]))
        last = lines[-1]
        final.append((*who, last["step"], last["test/accuracy"], last.get("test/accuracy_population", "")))
        record = collected.observed(run)
        path = record[f"layer{len(model.hidden)}"]
        for step, values in zip(record["steps"], path, strict=True):
            for unit, triple in enumerate(values.T):
                percentiles.append((*who, step, unit, *(f"{value:.4f}" for value in triple)))
    collected.write_csv(folder / "accuracy.csv", ("network", "seed", "step", "test_accuracy"), accuracy)
    names = [f"p{p:g}" for p in runs[0].config.probe.percentiles]
    header = ("network", "seed", "step", "unit", *names)
    collected.write_csv(folder / "percentiles.csv", header, percentiles)
    header = ("network", "seed", "step", "test_accuracy", "test_accuracy_population")
    collected.write_csv(folder / "final.csv", header, final)
    collected.write_provenance(folder / "runs.json", runs)


def draw(folder: Path, out: Path) -> None:
    """Write figure1, figure1_all_units (png, svg, pdf) and table.md."""
    accuracy = read_accuracy(folder)
    percentiles = read_percentiles(folder)
    _draw_figure1(accuracy, percentiles, out / "figure1")
    _draw_all_units(percentiles, out / "figure1_all_units")
    (out / "table.md").write_text(_table(folder, accuracy, percentiles))


Accuracy = dict[str, tuple[np.ndarray, np.ndarray]]  # network: steps (T,), accuracy (seeds, T)
Paths = dict[str, tuple[np.ndarray, np.ndarray]]  # network: steps (T,), percentiles (seeds, T, 3, units)


def read_accuracy(folder: Path) -> Accuracy:
    rows = collected.read_csv(folder / "accuracy.csv")
    found: Accuracy = {}
    for network in NETWORKS:
        own = [row for row in rows if row["network"] == network]
        steps = sorted({int(row["step"]) for row in own})
        values = [float(row["test_accuracy"]) for row in own]
        found[network] = np.array(steps), np.array(values).reshape(-1, len(steps))
    return found


def read_percentiles(folder: Path) -> Paths:
    rows = collected.read_csv(folder / "percentiles.csv")
    found: Paths = {}
    for network in NETWORKS:
        own = [row for row in rows if row["network"] == network]
        steps = sorted({int(row["step"]) for row in own})
        units = len({row["unit"] for row in own})
        values = np.array([[float(row[name]) for name in list(row)[4:]] for row in own])
        shaped = values.reshape(-1, len(steps), units, values.shape[1])
        found[network] = np.array(steps), shaped.transpose(0, 1, 3, 2)
    return found


def _draw_figure1(accuracy: Accuracy, percentiles: Paths, stem: Path) -> None:
    fig, axes = style.figure(9.0, 2.9, columns=3)
    top = axes[0]
    for network, (steps, values) in accuracy.items():
        label = f"{style.LABEL[network]} (n = {len(values)})"
        top.plot(steps, values.mean(0), label=label, **style.STYLE[network])
        top.fill_between(
            steps, values.min(0), values.max(0), color=style.STYLE[network]["color"], alpha=0.25, lw=0
        )
    top.set(ylim=(0.7, 1.0), xlabel="training step", ylabel="test accuracy", title="(a) accuracy")
    top.legend(loc="lower right")
    for axis, network, letter in zip(axes[1:], NETWORKS, "bc", strict=True):
        steps, paths = percentiles[network]
        typical = np.stack([path[:, :, typical_unit(path)] for path in paths])  # (seeds, T, 3)
        look = style.STYLE[network]
        for i, (name, width) in enumerate(PERCENTILES):
            band = typical[:, :, i]
            axis.fill_between(steps, band.min(0), band.max(0), color=look["color"], alpha=0.15, lw=0)
            axis.plot(steps, band[0], linewidth=width, **look)
            axis.annotate(
                name, (steps[-1], band[0, -1]), (4, 0), textcoords="offset points", va="center",
                color=look["color"], annotation_clip=False,
            )  # fmt: skip
        for low in (-AXIS, PAPERS_AXIS):
            axis.axhspan(low, low + AXIS - PAPERS_AXIS, color="#ececec", lw=0, zorder=0)
        axis.text(
            0.03 * steps[-1], -0.98 * AXIS, "beyond the paper's axis, \N{MINUS SIGN}2 to 2",
            va="bottom", fontsize=7, color="0.35",
        )  # fmt: skip
        axis.set(ylim=(-AXIS, AXIS), xlabel="training step", title=f"({letter}) {style.LABEL[network]}")
    axes[1].set_ylabel("input to the sigmoid,\n15th, 50th and 85th percentile")
    for axis in axes:
        axis.set_xlim(0, accuracy[NETWORKS[0]][0][-1])
        style.thousands(axis.xaxis)
    style.save(fig, stem)


def _draw_all_units(percentiles: Paths, stem: Path) -> None:
    """Draw the median and the 15-85 band of every unit of the last hidden layer of seed 0, one cell each.

    The cells of a network share one axis: a hundred axes would take a minute.
    """
    fig, axes = style.figure(11.0, 6.0, columns=2)
    last = percentiles[NETWORKS[0]][0][-1]
    for axis, network in zip(axes, NETWORKS, strict=True):
        steps, paths = percentiles[network]
        path = paths[0]
        color = style.STYLE[network]["color"]
        typical = typical_unit(path)
        x = steps / steps[-1]
        for unit in range(path.shape[2]):
            column, row = unit % COLUMNS, unit // COLUMNS
            left, middle = 1.12 * column, -1.3 * row
            low, median, high = middle + np.clip(path[:, :, unit].T / CELL_RANGE, -1, 1) / 2
            axis.plot([left, left + 1], [middle, middle], color="#d0d0d0", lw=0.6, zorder=0)
            axis.fill_between(left + x, low, high, color=color, alpha=0.3, lw=0)
            axis.plot(left + x, median, color=color, lw=1.0)
            chosen = unit == typical
            frame = {"edgecolor": "black" if chosen else "#d0d0d0", "linewidth": 1.4 if chosen else 0.6}
            axis.add_patch(Rectangle((left, middle - 0.5), 1, 1, facecolor="none", **frame))
            axis.text(left + 0.03, middle + 0.56, str(unit), fontsize=5, color="0.35")
        axis.set_axis_off()
        axis.set_title(f"{style.LABEL[network]}; the typical unit, {typical}, is framed")
    fig.suptitle(
        "Input to the sigmoid of each unit of the last hidden layer (seed 0): median and 15th to 85th "
        f"percentile.\nEach cell: 0 to {last:,} training steps, -{CELL_RANGE} to {CELL_RANGE}, a line at 0.",
        fontsize=9,
    )
    style.save(fig, stem)


def _table(folder: Path, accuracy: Accuracy, percentiles: Paths) -> str:
    final = collected.read_csv(folder / "final.csv")

    def last(column: str):
        def measure(network: str):
            found = [row[column] for row in final if row["network"] == network]
            return collected.mean_text([100 * float(value) for value in found], 2) if all(found) else None

        return measure

    def crossings(network: str, level: float) -> np.ndarray | None:
        steps, values = accuracy[network]
        if values.max(1).min() < level:
            return None  # a seed never reaches it
        return np.array([collected.crossing(steps, path, level) for path in values])

    def reached(level: float):
        def measure(network: str):
            found = crossings(network, level)
            return None if found is None else collected.mean_text(list(found), 0)

        return measure

    def speedup(level: float):
        # Seed by seed: both networks of a seed start from the same W and see the examples in the same order.
        def measure(network: str):
            plain, found = crossings(NETWORKS[0], level), crossings(network, level)
            if network == NETWORKS[0] or plain is None or found is None:
                return None
            return collected.ratio_text(list(plain / found))

        return measure

    def moved(start: int, *which: int):
        # The movement of a unit's percentile after `start`: max - min, mean over the layer.
        def measure(network: str):
            steps, paths = percentiles[network]
            later = paths[:, steps >= start][:, :, list(which)]
            if not later.shape[1]:
                return None  # the runs ended earlier
            return collected.mean_text(list((later.max(1) - later.min(1)).mean((1, 2))), 2)

        return measure

    rows = [
        *((f"steps to {100 * level:g}% test accuracy", "fewer with BN", reached(level)) for level in LEVELS),
        *((f"times fewer steps to {100 * level:g}% with BN", "above 1", speedup(level)) for level in LEVELS),
        ("test accuracy after 50,000 steps, moving averages (%)", "higher with BN", last("test_accuracy")),
        ("the same, statistics of Algorithm 2 (%)", "not given", last("test_accuracy_population")),
        ("movement of the median input to a sigmoid, from step 0", "less with BN", moved(0, 1)),
        (f"the same, from step {SETTLED:,}", "less with BN", moved(SETTLED, 1)),
        ("movement of its 15th and 85th percentiles, from step 0", "less with BN", moved(0, 0, 2)),
        (f"the same, from step {SETTLED:,}", "less with BN", moved(SETTLED, 0, 2)),
    ]
    lines = ["| Figure 1 | the paper | without BN | with BN |", "|---|---|---|---|"]
    for name, claim, measure in rows:
        cells = (measure(network) or "-" for network in NETWORKS)
        lines.append(f"| {name} | {claim} | {' | '.join(cells)} |")
    n = len(accuracy[NETWORKS[0]][1])
    return collected.document(
        lines,
        f"{collected.means(f'n = {n} seeds')} {collected.RATIOS}",
        (
            "**Steps** are interpolated between evaluations.",
            "**Movement** is the maximum minus the minimum of a unit's percentile over the rest of the "
            "training, averaged over the 100 units of the last hidden layer.",
        ),
        collected.origin_in(folder),
    )
