"""The size of the mini-batch (section 3.1, claim 23): any size m > 1.

    python scripts/reproduce.py batch_size     5 sizes: a grid of 3 rates, then 5 further seeds
                                               (configs/sweep/batch_size_*.yaml)

The network of Figure 1 with BN in mini-batches of 2, 10, 60, 250 and 1,000, each at its own best learning
rate (`experiments.selection`): its accuracy, and how far its outputs in training, where they depend on the
rest of the mini-batch, are from those at inference (`bn.observe.population_gap`, at the end, over 10,000
training examples). Measured numbers, with n: results/batch_size/table.md.

Decisions that the rule left open: every size sees 210,000 examples, so that larger mini-batches take fewer
steps; more would cost too much at size 2, which takes 105,000 steps. At every size, Algorithm 2 uses 18,000
examples, and the moving averages weight the newest mini-batch with 0.1. Each size has three learning rates, a
factor of 3 apart, the middle one about 2 sqrt(size / 60), at size 2 less, 0.15; three runs of another seed
with 300 mini-batches of 1,000 came before. `optimizers` defines "ends above 95%".
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from bn.config import Config
from experiments import collected, selection, style

SIZES = (2, 10, 60, 250, 1000)
EXAMPLES = 210_000
SWEEPS: dict[str, tuple[str, ...]] = {f"batch_size_{size}": () for size in SIZES}
COLUMNS = ("size",)
GAP = ("observe/population_gap/probabilities", "observe/population_gap/classes")


def case_of(config: Config) -> selection.Case:
    return (str(config.optim.batch),)


collect, collect_further = selection.collectors(COLUMNS, case_of, GAP)


def further_sweeps(folder: Path) -> list[tuple[str, tuple[str, ...]]]:
    """The five further seeds of each size at its chosen learning rate."""
    return [
        (f"batch_size_{size}", (f"optim.lr={selection.best(cells):g}", "seed=1,2,3,4,5"))
        for (size,), cells in selection.read(folder / selection.GRID, COLUMNS).items()
    ]


def draw(folder: Path, out: Path) -> None:
    """Write batch_size (png, svg, pdf) and table.md."""
    grid = selection.read(folder / selection.GRID, COLUMNS)
    further = selection.read_further(folder, COLUMNS, grid)
    _draw(further, out / "batch_size")
    (out / "table.md").write_text(_table(grid, further, collected.origin_in(folder)))


def _draw(further: Mapping[selection.Case, list[selection.Run]], stem: Path) -> None:
    fig, (left, right) = style.figure(7.4, 3.0, columns=2)
    sizes = [int(size) for (size,) in further]
    population = {"color": style.WITH["color"], "marker": "o", "ms": 3.5}
    for label, of, look in (
        ("Algorithm 2's statistics", lambda run: run.test, population),
        ("moving averages", lambda run: run.test_moving, {"color": "#E69F00", "linestyle": "--"}),
    ):
        values = 100 - 100 * np.array([[of(run) for run in runs] for runs in further.values()])
        left.plot(sizes, values.mean(1), label=label, **look)
        left.fill_between(sizes, values.min(1), values.max(1), color=look["color"], alpha=0.2, lw=0)
    left.set(
        yscale="log", title="(a) accuracy at the end",
        ylabel="test accuracy (%),\nlogarithmic in the error",
    )  # fmt: skip
    ticks = (50, 80, 90, 95, 97)
    left.set_yticks([100 - tick for tick in ticks], [f"{tick}" for tick in ticks])
    left.invert_yaxis()
    left.legend(loc="lower right")
    for name, label, look in (
        ("probabilities", "distance of class probabilities", {**population, "linestyle": "-"}),
        ("classes", "share with another class", {"color": "black", "linestyle": ":", "marker": "s", "ms": 3}),
    ):
        values = np.array([[run.extra[name] for run in runs] for runs in further.values()])
        right.plot(sizes, values.mean(1), label=label, **look)
        right.fill_between(sizes, values.min(1), values.max(1), color=look["color"], alpha=0.2, lw=0)
    right.set(yscale="log", title="(b) outputs in training and at inference")
    right.legend(loc="upper right")
    for axis in (left, right):
        axis.set(xscale="log", xlabel="examples in a mini-batch")
        axis.set_xticks(sizes, [f"{size:,}" for size in sizes])
        axis.minorticks_off()
    style.save(fig, stem)


def _table(grid: selection.Grid, further: Mapping[selection.Case, list[selection.Run]], origin: str) -> str:
    lines = [
        "| examples in a mini-batch | steps | learning rate | test accuracy (%) | the same, moving averages "
        "| distance of the class probabilities, training to inference | examples with another class (%) |",
        "|--:|--:|--:|---|---|---|---|",
    ]
    for case, runs in further.items():
        size = int(case[0])
        cells = (
            f"{size:,}", f"{EXAMPLES // size:,}", selection.rate_text(grid[case]), selection.percent(runs),
            selection.percent(runs, lambda run: run.test_moving),
            collected.mean_text([run.extra["probabilities"] for run in runs], 4),
            collected.mean_text([100 * run.extra["classes"] for run in runs], 2),
        )  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    n = collected.seeds_text(len(runs) for runs in further.values())
    return collected.document(
        lines,
        f"The table shows the network of Figure 1 with BN after {EXAMPLES:,} examples, at a constant "
        f"learning rate. {collected.means(n)} {selection.APART_NOTE}",
        (
            "**Test accuracy** is that by Algorithm 2's statistics, over 18,000 training examples, and that "
            "by moving averages with weight 0.1 on the newest mini-batch.",
            "**Distance** is the total variation (0 to 1) between an example's class probabilities in "
            "training, in a mini-batch of this size, and at inference, by Algorithm 2's statistics. It is "
            "the mean over 10,000 training examples.",
            "**Another class** means that the most probable class differs between training and inference.",
        ),
        selection.CHOICE,
        origin,
    )
