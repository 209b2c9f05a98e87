"""The table of `runs.py list`, fitted to the width of the terminal."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from bn.compare.runs import Run
from bn.compare.settings import ABSENT, LONGEST, differing_keys, short_names, shown
from bn.compare.terminal import colored, cut, shortened, span
from bn.errors import printable
from bn.run.state import RunState

COLUMNS = ("state", "run", "step", "accuracy", "images/s", "age", "job")
LEFT_ALIGNED = ("state", "run", "experiment", "job")
DROPPED_FIRST = ("images/s", "job", "age")  # if the terminal is too narrow


class Column(NamedTuple):
    name: str
    cells: list[str]
    key: str | None = None  # the config key that the column shows

    @property
    def width(self) -> int:
        return max(len(self.name), *map(len, self.cells))

    def lines(self) -> list[str]:
        """The name and the cells, padded to one width."""
        pad = str.ljust if self.name in LEFT_ALIGNED and not self.key else str.rjust
        return [pad(text, self.width) for text in (self.name, *self.cells)]


def table(runs: Sequence[Run], names: Sequence[str], width: int) -> list[str]:
    """The header, the lines of each run, and a line with the keys that did not fit.

    Reasons form the last column if all of them fit; otherwise each is on a line below its run.
    """
    if not runs:
        return []
    reasons = ["", *(reason_of(run.state) for run in runs)]
    columns, hidden = fitted(columns_of(runs, names), runs, width)
    if beside := width_of(columns) + 2 + max(map(len, reasons)) <= width:
        reasons[0] = "reason" * any(reasons)
    lines = []
    for row, reason in zip(zip(*(column.lines() for column in columns), strict=True), reasons, strict=True):
        lines.append(colored(cut("  ".join([*row, reason * beside]).rstrip(), width)))
        if reason and not beside:
            lines.append(cut(f"    {reason}", width))
    return [*lines, cut(f"no room for {', '.join(hidden)}", width)] if hidden else lines


def width_of(columns: Sequence[Column]) -> int:
    return sum(column.width + 2 for column in columns) - 2


def fitted(columns: list[Column], runs: Sequence[Run], width: int) -> tuple[list[Column], list[str]]:
    """The columns that fit, narrowed if necessary, and the keys that do not fit.

    A run's name is never cut: id, experiment and seed replace it.
    """
    if width_of(columns) <= width:
        return columns, []
    short = short_names([column.key for column in columns if column.key])
    steps = [(run.state.step or 0, run.state.steps) for run in runs]
    narrower = {
        "run": [
            Column("id", [run.id for run in runs]),
            Column("experiment", [printable(run.state.experiment) for run in runs]),
            Column("seed", [str(run.config.get("seed", "")) for run in runs]),
        ],
        "step": [Column("trained", [f"{step / of:.0%}" if of else "" for step, of in steps])],
    }
    narrow = []
    for column in columns:
        if column.key:
            narrow.append(column._replace(name=short[column.key]))
        else:
            narrow += narrower.get(column.name, [column])
    first = [column for name in DROPPED_FIRST for column in narrow if column.name == name and not column.key]
    keys = [column for column in reversed(narrow) if column.key]
    keys.sort(key=lambda column: (len(set(column.cells)), -column.width))  # the least informative first
    for column in (*first, *keys):
        if width_of(narrow) > width:
            narrow.remove(column)
    return narrow, [key for key in short if key not in {column.key for column in narrow}]


def columns_of(runs: Sequence[Run], names: Sequence[str]) -> list[Column]:
    """COLUMNS, with the keys that differ after the run's name. `steps` is part of the column step."""
    rows = [cells(run.state, name) for run, name in zip(runs, names, strict=True)]
    columns = [Column(name, [*values]) for name, values in zip(COLUMNS, zip(*rows, strict=True), strict=True)]
    keys = []
    for key in differing_keys(runs):
        values = [shortened(printable(shown(run.config.get(key, ABSENT))), LONGEST) for run in runs]
        keys += [Column(key, values, key)] * (key != "steps")
    return [column for column in (*columns[:2], *keys, *columns[2:]) if any(column.cells)]


def cells(run: RunState, name: str) -> tuple[str, ...]:
    """The cells of COLUMNS for one run."""
    step = "" if run.step is None and run.steps is None else f"{run.step or 0:,}"
    speed = run.images_per_second
    return (
        run.state,
        printable(name),
        f"{step}/{run.steps:,}" if run.steps is not None else step,
        "" if run.accuracy is None else f"{run.accuracy:.2%}",
        "" if speed is None else f"{speed:,.0f}" if speed >= 100 else f"{speed:.1f}",
        "" if run.age is None else span(run.age),
        printable(run.job or ""),
    )


def described(run: Run) -> str:
    """One line with the path, state, step and accuracy of a run."""
    state, name, step, accuracy, *_ = cells(run.state, os.path.relpath(run.path))
    return ", ".join(filter(None, (f"{name}: {state}", f"step {step}" * bool(step), accuracy)))


def reason_of(run: RunState) -> str:
    """The reason of a run's state, and the log to read if its job ended abnormally."""
    log = ""
    if run.log and run.state in ("lost", "failed"):
        log = f"; see {Path(run.log).with_suffix('.err')}"
    return printable(f"{run.reason or ''}{log}")
