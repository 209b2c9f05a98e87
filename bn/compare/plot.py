"""`runs.py plot`: plots logged numbers, one color for each setting.

A line shows the mean over the seeds of a setting and a band their range, up to the last step that all seeds
have. Beyond it, each seed has a thin line. bn/compare/percentiles.py implements `--percentiles`.
"""

import argparse
import os
import sys
import time
from collections.abc import Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bn.compare import percentiles, style
from bn.compare.filters import select_some
from bn.compare.rows import ACCURACY, RowsByNumber, logged_as, rows_by_number
from bn.compare.runs import Run
from bn.compare.settings import Setting, samples
from bn.compare.terminal import REFRESH_S
from bn.config.idx_sets import IDX_SETS
from bn.data.availability import EXAMPLES
from bn.errors import UserError, printable

# Numbers of training examples of the published data sets; a user's own folder may have others.
TRAINING = {**EXAMPLES, "tiny_imagenet": 100_000, "imagenet": 1_281_167, **dict.fromkeys(IDX_SETS, 60_000)}
LONGEST_LABEL = 40  # characters in a line of the legend
LEGEND_WIDTH, LEGEND_LINE = 2.9, 0.16  # inches
LABELS = {
    "step": "training step",
    "epoch": "epoch",
    "images": "training images seen",
    "wall": "minutes of training",
}


def main(arguments: argparse.Namespace) -> None:
    check(arguments)
    printed = None
    while True:
        try:
            complaints, drawn = draw(arguments), True
        except UserError as error:
            if not arguments.watch:
                raise
            complaints, drawn = [str(error)], False  # the first run may be about to start
        if (complaints, drawn) != printed:
            for line in complaints:
                print(f"runs.py: {line}", file=sys.stderr)
            if drawn:
                print(arguments.out, flush=True)
        printed = complaints, drawn
        if not arguments.watch:
            break
        time.sleep(REFRESH_S)


def draw(arguments: argparse.Namespace) -> list[str]:
    """Write the requested figure. Return a line for each run that is left out."""
    runs = select_some(arguments.what)
    with style.applied():
        if arguments.percentiles:
            fig, complaints = percentiles.figure_of(runs, arguments.layer)
        else:
            fig, complaints = figure_of(
                runs, arguments.y or [ACCURACY], arguments.x or "step", arguments.log or ""
            )
        try:
            style.write(fig, arguments.out)
        except OSError as error:
            raise UserError(f"--out={arguments.out}: cannot be written ({error.strerror})") from error
    return complaints


def check(arguments: argparse.Namespace) -> None:
    """UserError for incompatible options or an unsupported file format."""
    if arguments.out.suffix not in style.FORMATS:
        raise UserError(f"--out={arguments.out}: accepted: a file that ends in {', '.join(style.FORMATS)}")
    for option in ("y", "x", "log"):
        if arguments.percentiles and getattr(arguments, option):
            raise UserError(f"--{option}: not accepted with --percentiles")
    if arguments.layer and not arguments.percentiles:
        raise UserError("--layer: accepted with --percentiles")


def figure_of(runs: Sequence[Run], numbers: Sequence[str], x: str, log: str) -> tuple[Figure, list[str]]:
    """The figure, with a panel for each number, and a line for each run that is left out."""
    rows, complaints = rows_by_number("--y", runs, numbers)
    for path in [path for path, found in rows.items() if not any(found.values())]:
        del rows[path]
        reason = f"it has logged no {' or '.join(numbers)} yet"
        complaints.append(printable(f"left out: {os.path.relpath(path)}: {reason}"))
    groups, left_out = samples([run for run in runs if run.path in rows])
    fig, axes = style.figure(5.0 * len(numbers), 3.4, len(numbers), squeeze=False)
    for axis, number in zip(axes[0], numbers, strict=True):
        for group, look in zip(groups, style.looks_of(len(groups)), strict=True):
            at, values = seeds_of(group, rows, number, x)
            if not values.empty:
                draw_setting(axis, at, values, f"{group.name()} (n = {len(values.columns)})", look)
        names = sorted({logged_as(number, group.runs[0]) for group in groups})
        axis.set(xlabel=LABELS[x], ylabel=", ".join(names).replace("_", " "))
        if "x" in log:
            axis.set_xscale("log")
        if "y" in log:
            axis.set_yscale("log")
            axis.yaxis.set_major_formatter(style.Plain())
            axis.yaxis.set_minor_formatter(style.Plain())
        if x in ("step", "images"):
            style.thousands(axis.xaxis)
    legend(fig, axes[0])
    return fig, [*complaints, *left_out]


def seeds_of(group: Setting, rows: RowsByNumber, number: str, x: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The x positions and the values of a number, indexed by step, with a column for each run."""
    at, values = {}, {}
    for run in group.runs:
        if found := rows[run.path][number]:
            frame = pd.DataFrame(found).set_index("step", drop=False)
            at[run.path] = frame["wall_s" if x == "wall" else "step"] * unit_of(x, run)
            values[run.path] = frame[logged_as(number, run)]
    return pd.DataFrame(at), pd.DataFrame(values)


def unit_of(x: str, run: Run) -> float:
    """The length of one step (or second) on the axis `x`. UserError if the config does not determine it."""
    if x in ("step", "wall"):
        return 1 if x == "step" else 1 / 60
    batch, data = run.config.get("optim.batch"), run.config.get("data.name")
    if not batch or data not in TRAINING:
        raise UserError(
            f"--x={x}: {os.path.relpath(run.path)}: its config does not say how many images a step takes"
        )
    return batch if x == "images" else batch / (TRAINING[data] - run.config.get("data.validation", 0))


def draw_setting(axis: Axes, x: pd.DataFrame, y: pd.DataFrame, label: str, look: dict[str, Any]) -> None:
    """Draw mean and range up to the last common step, then a thin line for each seed."""
    shared = y.notna().all(axis=1)
    mean, at = y[shared].mean(axis=1), x[shared].mean(axis=1)
    axis.plot(at, mean, label=label, marker="." if len(mean) == 1 else None, **look)
    axis.fill_between(at, y[shared].min(axis=1), y[shared].max(axis=1), color=look["color"], alpha=0.25, lw=0)
    for seed in y:
        own = y[seed].notna()
        if (own & ~shared).any():
            since = own & (y.index >= y.index[shared].max() if shared.any() else True)
            axis.plot(x[seed][since], y[seed][since], linewidth=0.7, **look)


def legend(fig: Figure, axes: Sequence[Axes]) -> None:
    """Draw one legend for all panels, to the right of them; the figure is enlarged for it."""
    handles = {
        label: handle
        for axis in axes
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)
    }
    texts = [style.wrapped(label, LONGEST_LABEL) for label in handles]
    lines = sum(text.count("\n") + 1 for text in texts)
    width, height = fig.get_size_inches()
    fig.set_size_inches(width + LEGEND_WIDTH, max(height, LEGEND_LINE * (lines + 2)))
    fig.legend(handles.values(), texts, loc="outside right upper", fontsize=7)
