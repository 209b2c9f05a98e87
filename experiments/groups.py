"""Statistics in groups of a mini-batch (section 3.1): what matters, the size of the mini-batch or of the
sample from which BN takes mean and variance?

    python scripts/reproduce.py groups     5 cases: a grid of 4 rates, then 5 further seeds
                                           (configs/sweep/groups_60.yaml, groups_1000.yaml)

In `batch_size` the two are the same. Here the network of Figure 1 trains in mini-batches of 60 and of 1,000,
normalized in groups of 2, 10 and 250 examples (`model.norm=ghost`): the gradient is that of the mini-batch,
the statistics are those of the group. They are compared with whole mini-batches of 2, 10, 60, 250 and 1,000,
from the records of `batch_size`. Measured numbers, with n: results/groups/table.md.

Decided before the runs, at the scale of `batch_size` (210,000 examples, Algorithm 2 over 18,000, the distance
of training from inference over 10,000; a grid of one seed on held-out examples, then n = 5 further seeds):

- The learning rates are the three of the whole mini-batch of the same size, and one a factor of three below
  them, because mini-batches of 2 took the lowest of theirs.
- The distance between training and inference follows the group if, in each of the five cases, its mean over
  the seeds is nearer (as a ratio) to that of whole mini-batches of the group's size than to that of whole
  mini-batches of the same size; it does so in part if that holds in most of the cases, else not.
- Groups cost accuracy in a case if the 95% interval of the difference to the whole mini-batch of the same
  size, seed by seed, lies below zero; they gain if it lies above; otherwise it is undecided.
- Mini-batches of 2, which end near 63%, fail because of their statistics if mini-batches of 60 and of 1,000
  in groups of 2 end below 90% too, and because of their noisy gradient if both end above 90%; otherwise it is
  undecided.
- Claim 23 is about whole mini-batches. Its rule does not use these numbers.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean

from bn.config import Config, MlpModel
from experiments import batch_size, collected, selection, style
from experiments.batch_size import GAP

GROUPS = {60: (2, 10), 1000: (2, 10, 250)}  # mini-batch size: group sizes
SWEEPS: dict[str, tuple[str, ...]] = {f"groups_{size}": () for size in GROUPS}
COLUMNS = ("size", "group")
LOOK = {60: {"color": "#E69F00", "marker": "s"}, 1000: {"color": "#CC79A7", "marker": "^"}}


def case_of(config: Config) -> selection.Case:
    assert isinstance(config.model, MlpModel)
    return (str(config.optim.batch), str(config.model.norm_group))


collect, collect_further = selection.collectors(COLUMNS, case_of, GAP)


def further_sweeps(folder: Path) -> list[tuple[str, tuple[str, ...]]]:
    """The five further seeds of each case at its chosen learning rate."""
    return [
        (
            f"groups_{size}",
            (f"model.norm_group={group}", f"optim.lr={selection.best(cells):g}", "seed=1,2,3,4,5"),
        )
        for (size, group), cells in selection.read(folder / selection.GRID, COLUMNS).items()
    ]


def draw(folder: Path, out: Path) -> None:
    """Write groups (png, svg, pdf) and table.md."""
    grid = selection.read(folder / selection.GRID, COLUMNS)
    further = selection.read_further(folder, COLUMNS, grid)
    whole = read_whole(folder.parent / "batch_size")
    _draw(further, whole, out / "groups")
    (out / "table.md").write_text(_table(grid, further, whole, collected.origin_in(folder)))


def read_whole(folder: Path) -> dict[int, list[selection.Run]]:
    """The further seeds of `batch_size`, with whole mini-batches, by size."""
    grid = selection.read(folder / selection.GRID, batch_size.COLUMNS)
    found = selection.read_further(folder, batch_size.COLUMNS, grid)
    return {int(size): runs for (size,), runs in found.items()}


def distance(runs: Sequence[selection.Run]) -> list[float]:
    """The distance between class probabilities in training and at inference, by seed."""
    return [run.extra["probabilities"] for run in runs]


def _draw(
    further: Mapping[selection.Case, list[selection.Run]],
    whole: Mapping[int, list[selection.Run]],
    stem: Path,
) -> None:
    lines = [("whole mini-batches", whole, {"color": style.WITH["color"], "marker": "o"})]
    for size, groups in GROUPS.items():
        runs = {group: further[str(size), str(group)] for group in groups} | {size: whole[size]}
        lines.append((f"groups in mini-batches of {size:,}", runs, {**LOOK[size], "linestyle": "--"}))
    fig, (left, right) = style.figure(7.4, 3.0, columns=2)
    for label, by_group, look in lines:
        sizes = list(by_group)
        for axis, of in ((left, lambda runs: [100 - 100 * run.test for run in runs]), (right, distance)):
            values = [of(runs) for runs in by_group.values()]
            axis.plot(sizes, [fmean(seeds) for seeds in values], ms=3.5, label=label, **look)
            lowest, highest = [min(seeds) for seeds in values], [max(seeds) for seeds in values]
            axis.fill_between(sizes, lowest, highest, color=look["color"], alpha=0.2, lw=0)
    left.set(
        yscale="log", title="(a) accuracy at the end",
        ylabel="test accuracy (%),\nlogarithmic in the error",
    )  # fmt: skip
    ticks = (50, 80, 90, 95, 97)
    left.set_yticks([100 - tick for tick in ticks], [f"{tick}" for tick in ticks])
    left.invert_yaxis()
    left.legend(loc="lower right")
    right.set(yscale="log", title="(b) training to inference", ylabel="distance of the class probabilities")
    for axis in (left, right):
        axis.set(xscale="log", xlabel="examples per normalization group")
        axis.set_xticks(batch_size.SIZES, [f"{size:,}" for size in batch_size.SIZES])
        axis.minorticks_off()
    style.save(fig, stem)


def _table(
    grid: selection.Grid,
    further: Mapping[selection.Case, list[selection.Run]],
    whole: Mapping[int, list[selection.Run]],
    origin: str,
) -> str:
    lines = [
        "| mini-batch | groups of | learning rate | test accuracy (%) | minus that of whole mini-batches "
        "(points) | distance of the class probabilities, training to inference | the same in whole "
        "mini-batches of the group's size | the same in whole mini-batches of this size | examples with "
        "another class (%) |",
        "|--:|--:|--:|---|---|---|---|---|---|",
    ]
    for (size, group), runs in further.items():
        distances = [distance(those) for those in (runs, whole[int(group)], whole[int(size)])]
        cells = (
            f"{int(size):,}", group, selection.rate_text(grid[size, group]), selection.percent(runs),
            collected.mean_text(selection.gains(runs, whole[int(size)]), 2, "+"),
            *(collected.mean_text(seeds, 4) for seeds in distances),
            collected.mean_text([100 * run.extra["classes"] for run in runs], 2),
        )  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    n = collected.seeds_text(len(runs) for runs in further.values())
    return collected.document(
        lines,
        f"The table shows the network of Figure 1 with BN after {batch_size.EXAMPLES:,} examples, at a "
        "constant learning rate. Each group of a mini-batch is normalized by its own statistics; test "
        f"accuracy is that by Algorithm 2's. {collected.means(n)} Differences are computed seed by seed. "
        f"{selection.APART_NOTE}",
        f"The distance, and another class, are defined as in results/batch_size. {selection.CHOICE}",
        origin,
    )
