"""`runs.py plot`: logged numbers of runs, one colour for each setting, with bands over the seeds.

A line is the mean of a setting's seeds and its band their range, as far as all of them have come; from there
on each seed that goes on has a thin line of its own. `--percentiles` is bn/compare/percentiles.py.
"""

import argparse
import os
import time
from collections.abc import Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bn.compare import percentiles, style
from bn.compare.filters import some_asked_for
from bn.compare.frame import frame_of_rows
from bn.compare.rows import ACCURACY, TIMES, Row, logged_as, not_logged, readable, rows_of
from bn.compare.runs import Run
from bn.compare.settings import one_of_each_seed, settings, without_config
from bn.data.idx_sets import IDX_SETS
from bn.data.there import EXAMPLES
from bn.errors import UserError, printable

# Examples for training, of the data sets as published: a folder of one's own may hold others.
TRAINING = {**EXAMPLES, "tiny_imagenet": 100_000, "imagenet": 1_281_167, **dict.fromkeys(IDX_SETS, 60_000)}
LEGEND, LONGEST_LABEL = (
    8,
    40,
)  # settings, and characters of one, from which on the legend is beside the panels
MOST_LINES = 45  # of a column of the legend, about
LEGEND_WIDTH, LINE = 2.9, 0.14  # of a column and a line, in inches
LABELS = {"step": "training step", "epoch": "epoch", "images": "training images seen"}
HOURS, MINUTES = (3600.0, "hours of training"), (60.0, "minutes of training")


def main(arguments: argparse.Namespace) -> None:
    check(arguments)
    said = None
    while True:
        try:
            with style.applied():
                fig, complaints = drawn(arguments)
                style.write(fig, arguments.out)
            line = "\n".join([*(f"runs.py: {line}" for line in complaints), str(arguments.out)])
        except UserError as error:
            if not arguments.watch:  # the first run may be about to start
                raise
            line = f"runs.py: {error}"
        except OSError as error:
            raise UserError(f"--out={arguments.out}: cannot be written ({error.strerror})") from error
        if line != said:
            print(line, flush=True)
        said = line
        if not arguments.watch:
            break
        time.sleep(arguments.watch)


def check(arguments: argparse.Namespace) -> None:
    """UserError for options that do not go together, or a file of another kind."""
    if arguments.out.suffix not in style.FORMATS:
        raise UserError(f"--out={arguments.out}: accepted: a file that ends in {', '.join(style.FORMATS)}")
    if arguments.layer and not arguments.percentiles:
        raise UserError(f"--layer={','.join(arguments.layer)}: accepted with --percentiles")
    if arguments.percentiles and (arguments.y or arguments.x != "step"):
        option = "--y" if arguments.y else "--x"
        raise UserError(f"{option}: not accepted with --percentiles, which are drawn against the step")


def drawn(arguments: argparse.Namespace) -> tuple[Figure, list[str]]:
    """The figure that is asked for, and a line for each run that is left out. UserError without any run."""
    runs = some_asked_for(arguments)
    if arguments.percentiles:
        return percentiles.figure_of(runs, arguments.layer, arguments.log)
    return figure_of(runs, arguments.y or [ACCURACY], arguments.x, arguments.log)


def figure_of(runs: Sequence[Run], numbers: Sequence[str], x: str, log: str) -> tuple[Figure, list[str]]:
    """A panel for each number; and a line for each run that is left out."""
    read, complaints = readable(
        runs, lambda run: {number: rows_of(run.path, logged_as(number, run)) for number in numbers}
    )
    rows = {run.path: found for run, found in read}
    empty = [
        printable(f"left out: {os.path.relpath(run.path)}: it has logged no {' or '.join(numbers)} yet")
        for run, found in read
        if not any(found.values())
    ]
    groups, copies = one_of_each_seed(settings([run for run, found in read if any(found.values())]))
    looks = style.looks_of(len(groups))
    alone = len({group.experiment for group in groups}) == 1
    fig, axes = style.figure(5.0 * len(numbers), 3.4, len(numbers), squeeze=False)
    for axis, number in zip(axes[0], numbers, strict=True):
        longest, names = 0.0, set()
        for group, look in zip(groups, looks, strict=True):
            name = logged_as(number, group.runs[0])
            curves = values_of([(run, rows[run.path][number]) for run in group.runs], name, x)
            if not curves.empty:
                draw_setting(axis, curves, f"{group.name(alone)} (n = {curves['index'].nunique()})", look)
                longest = max(longest, curves["x"].max())
                names.add(name)
        if number in TIMES or not axis.lines:
            raise not_logged("--y", number, runs)
        dress(axis, ", ".join(sorted(names)), x, log, longest)
    legend(fig, axes[0])
    return fig, [*without_config(runs), *complaints, *empty, *copies]


def values_of(read: Sequence[tuple[Run, list[Row]]], number: str, x: str) -> pd.DataFrame:
    """One row a logged value: `index` of the run, `step`, `x`, `y`."""
    frame = frame_of_rows(read)
    if frame.empty:
        return frame
    scales = [scale_of(run, x) for run, _ in read]
    of_row = frame["index"].map(dict(enumerate(scales)))
    return frame.assign(x=frame["wall_s" if x == "wall" else "step"] * of_row, y=frame[number])


def scale_of(run: Run, x: str) -> float:
    """What one step, or one second, is on the axis `x`."""
    if x not in ("images", "epoch"):
        return 1.0
    batch, name = run.config.get("optim.batch"), run.config.get("data.name")
    if not isinstance(batch, int) or name not in TRAINING:
        raise UserError(f"--x={x}: {run.path}: its config does not say how many images a step takes")
    return batch if x == "images" else batch / (TRAINING[name] - run.config.get("data.validation", 0))


def draw_setting(axis: Axes, curves: pd.DataFrame, label: str, look: dict[str, Any]) -> None:
    """Mean and range of the seeds as far as all have come, then each seed's own thin line."""
    y = curves.pivot(index="step", columns="index", values="y")
    x = curves.pivot(index="step", columns="index", values="x")
    shared = y.notna().all(axis=1)
    mean, at = y[shared].mean(axis=1), x[shared].mean(axis=1)
    axis.plot(at, mean, label=label, marker="." if len(mean) == 1 else None, **look)
    axis.fill_between(at, y[shared].min(axis=1), y[shared].max(axis=1), color=look["color"], alpha=0.25, lw=0)
    for seed in y:
        own = y[seed].notna()
        if (own & ~shared).any():
            since = own & (y.index >= y.index[shared].max() if shared.any() else True)
            axis.plot(x[seed][since], y[seed][since], linewidth=0.7, **look)


def dress(axis: Axes, number: str, x: str, log: str, longest: float) -> None:
    """Labels, scales and their units."""
    axis.set(ylabel=number.replace("_", " "))
    if "x" in log:
        axis.set_xscale("log")
    if "y" in log:
        axis.set_yscale("log")
        axis.yaxis.set_major_formatter(style.Plain())
        axis.yaxis.set_minor_formatter(style.Plain())
    if x == "wall":
        unit, name = HOURS if longest > 2 * HOURS[0] else MINUTES if longest > 2 * MINUTES[0] else (1, "")
        axis.set_xlabel(name or "seconds of training")
        axis.xaxis.set_major_formatter(lambda value, _: f"{value / unit:g}")
        return
    axis.set_xlabel(LABELS[x])
    if x != "epoch":
        style.thousands(axis.xaxis)


def legend(fig: Figure, axes: Sequence[Axes]) -> None:
    """Of all panels, once; beside them, where there are many settings or long names, and the figure grows."""
    handles = {
        label: handle
        for axis in axes
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)
    }
    texts = [style.wrapped(label, LONGEST_LABEL) for label in handles]
    lines = sum(text.count("\n") + 1 for text in texts)
    if len(texts) < LEGEND and lines == len(texts):
        axes[0].legend(handles.values(), texts)
        return
    columns = -(-lines // MOST_LINES)
    width, height = fig.get_size_inches()
    fig.set_size_inches(width + columns * LEGEND_WIDTH, max(height, LINE * (min(lines, MOST_LINES) + 2)))
    fig.legend(handles.values(), texts, loc="outside right upper", fontsize=7, ncols=columns)
