"""The table of `runs.py list`: its columns, and which of them give way where a terminal is narrow."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from bn.compare.runs import Run
from bn.compare.settings import ABSENT, LONGEST, differing_keys, short_names, shown
from bn.compare.terminal import coloured, cut, shortened, span
from bn.errors import printable
from bn.run.state import RunState

COLUMNS = ("state", "run", "step", "accuracy", "images/s", "age", "job")
TO_THE_LEFT = ("state", "run", "experiment", "job")
LEFT_OUT = ("images/s", "job", "age")  # first, where there is no room


class Column(NamedTuple):
    name: str
    cells: list[str]
    key: str | None = None  # of the config, in which the runs differ

    @property
    def width(self) -> int:
        return max(len(self.name), *map(len, self.cells))

    def lines(self) -> list[str]:
        """The name and the cells, all of one width."""
        side, width = str.ljust if self.name in TO_THE_LEFT and not self.key else str.rjust, self.width
        return [side(text, width) for text in (self.name, *self.cells)]


def table(runs: Sequence[Run], names: Sequence[str], width: int) -> list[str]:
    """A header, the lines of each run, and the keys for which there was no room.

    A reason is the last column where there is room for all of them, and a line below its run where there is
    not.
    """
    if not runs:
        return []
    reasons = ["", *(reason(run.state) for run in runs)]
    columns, hidden = fitted(columns_of(runs, names), runs, width)
    if beside := width_of(columns) + 2 + max(map(len, reasons)) <= width:
        reasons[0] = "reason" * any(reasons)
    lines = []
    for row, why in zip(zip(*(column.lines() for column in columns), strict=True), reasons, strict=True):
        lines.append(coloured(cut("  ".join([*row, why * beside]).rstrip(), width)))
        if why and not beside:
            lines.append(cut(f"    {why}", width))
    return [*lines, cut(f"no room for {', '.join(hidden)}", width)] if hidden else lines


def width_of(columns: Sequence[Column]) -> int:
    return sum(column.width + 2 for column in columns) - 2


def fitted(columns: list[Column], runs: Sequence[Run], width: int) -> tuple[list[Column], list[str]]:
    """The columns for which there is room, narrower where need be; and the keys for which there is none.

    A name is shown as it can be typed or not at all: in its place come the run's id, experiment and seed.
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
    first = [column for name in LEFT_OUT for column in narrow if column.name == name and not column.key]
    keys = [column for column in reversed(narrow) if column.key]
    keys.sort(key=lambda column: (len(set(column.cells)), -column.width))  # how many runs it tells apart
    hidden = []
    for column in (*first, *keys):
        if width_of(narrow) > width:
            narrow.remove(column)
            hidden.append(column.key)
    return narrow, [key for key in short if key in hidden]


def columns_of(runs: Sequence[Run], names: Sequence[str]) -> list[Column]:
    """COLUMNS, and after the run's name the keys that differ; the number of steps is in its own column."""
    rows = [cells(run.state, name) for run, name in zip(runs, names, strict=True)]
    columns = [Column(name, [*values]) for name, values in zip(COLUMNS, zip(*rows, strict=True), strict=True)]
    keys = [
        Column(
            key,
            [shortened(printable(shown(run.config.get(key, ABSENT))), LONGEST) for run in runs],
            key,
        )
        for key in differing_keys(runs)
        if key != "steps"
    ]
    return [column for column in (*columns[:2], *keys, *columns[2:]) if any(column.cells)]


def cells(run: RunState, name: str) -> tuple[str, ...]:
    """What COLUMNS shows of a run."""
    step = "" if run.step is None and run.steps is None else f"{run.step or 0:,}"
    pace = run.images_per_second
    return (
        run.state,
        printable(name),
        f"{step}/{run.steps:,}" if run.steps is not None else step,
        "" if run.accuracy is None else f"{run.accuracy:.2%}",
        "" if pace is None else f"{pace:,.0f}" if pace >= 100 else f"{pace:.1f}",
        "" if run.age is None else span(run.age),
        printable(run.job or ""),
    )


def described(run: Run) -> str:
    """A run in one line: its path, state, step and accuracy."""
    state, name, step, accuracy, *_ = cells(run.state, os.path.relpath(run.path))
    return ", ".join(filter(None, (f"{name}: {state}", f"step {step}" * bool(step), accuracy)))


def reason(run: RunState) -> str:
    """And where a run's end is not its own, where to read on."""
    log = ""
    if run.log and run.state in ("lost", "failed"):
        log = f"; see {Path(run.log).with_suffix('.err')}"
    return printable(f"{run.reason or ''}{log}")
