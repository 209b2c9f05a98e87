"""The table of `runs.py list`: its columns, and which of them give way where a terminal is narrow."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from bn.compare.runs import Run
from bn.compare.settings import ABSENT, differing_keys, short_names, shown
from bn.compare.terminal import align, coloured, cut, span
from bn.errors import printable
from bn.run.state import RunState

COLUMNS = ("state", "run", "step", "accuracy", "images/s", "age", "job")
TO_THE_LEFT = ("state", "run", "job")
LEFT_OUT = ("images/s", "job", "age")  # first, where there is no room
LEAST = 16  # of the column "run" on a narrow terminal
LEAST_OF_EXPERIMENT = 23  # the same where it shows "mnist_baseline/…/seed_0"
LONGEST, HEADING = 24, 8  # of a value of a key; of its heading, where there is no room for more


class Column(NamedTuple):
    name: str
    cells: list[str]
    left: bool = False
    key: str | None = None  # of the config, in which the runs differ

    @property
    def width(self) -> int:
        return max(len(self.name), *map(len, self.cells))


def table(
    runs: Sequence[Run], names: Sequence[str], width: int, in_colour: bool
) -> tuple[list[str], list[str]]:
    """A header and the lines of each run; and the keys for which there was no room.

    A reason is the last column where there is room for all of them, and a line below its run where there is
    not.
    """
    if not runs:
        return [], []
    reasons = ["", *(reason(run.state) for run in runs)]
    columns = [column for column in columns_of(runs, names) if any(column.cells)]
    if beside := room(columns, width) >= max(map(len, reasons)):
        reasons[0] = "reason" * any(reasons)
    columns, hidden = fitted(columns, width)
    widths = [column.width for column in columns]
    position = [column.name for column in columns].index("run")
    widths[position] = min(widths[position], max(LEAST, widths[position] + room(columns, width) + 2))
    lines = []
    for row, why in zip(rows_of(columns), reasons, strict=True):
        aligned = [align(*cell) for cell in zip(row, widths, (c.left for c in columns), strict=True)]
        line = cut("  ".join([*aligned, why if beside else ""]).rstrip(), width)
        lines.append(coloured(line, row[0]) if in_colour else line)
        if why and not beside:
            lines.append(cut(f"    {why}", width))
    return lines, hidden


def rows_of(columns: Sequence[Column]) -> Iterable[tuple[str, ...]]:
    return zip(*([column.name, *column.cells] for column in columns), strict=True)


def room(columns: Sequence[Column], width: int) -> int:
    """What these columns leave of the width for one more; below 0 if they do not fit themselves."""
    return width - sum(column.width + 2 for column in columns)


def fitted(columns: list[Column], width: int) -> tuple[list[Column], list[str]]:
    """The columns for which there is room, narrower where need be; and the keys for which there is none.

    Where runs differ in a key, it is in a column, and need not be in their names. One key stays in any case.
    """
    keys = [column.key for column in columns if column.key]
    if not keys or fits(columns, width, LEAST):
        return columns, []
    columns = [narrowed(column, short_names(keys)) for column in columns]
    if not fits(columns, width, LEAST_OF_EXPERIMENT):
        columns = [column._replace(name=heading(column)) for column in columns]
    hidden = []
    for name in (*LEFT_OUT, *reversed(keys[1:]), "step"):
        if not fits(columns, width, LEAST_OF_EXPERIMENT):
            hidden += [name] if name in keys else []
            columns = [column for column in columns if name not in (column.name, column.key)]
    return columns, [key for key in keys if key in hidden]


def fits(columns: Sequence[Column], width: int, least: int) -> bool:
    """Whether they have room once the column "run" has given way, down to `least`."""
    spare = sum(max(0, column.width - least) for column in columns if column.name == "run")
    return room(columns, width) + spare + 2 >= 0


def narrowed(column: Column, short: dict[str, str]) -> Column:
    """A key by its short name; a run as experiment/…/seed."""
    if column.key:
        return column._replace(name=short[column.key])
    if column.name == "run":
        return column._replace(cells=[without_middle(name) for name in column.cells])
    return column


def without_middle(name: str) -> str:
    experiment, between, last = ["", "", *name.split("/")][-3:]
    return f"{experiment}/…/{last}" if experiment and between else name


def heading(column: Column) -> str:
    """No longer than the values, or HEADING."""
    widest = max(HEADING, *map(len, column.cells))
    return align(column.name, widest, left=True).rstrip() if column.key else column.name


def columns_of(runs: Sequence[Run], names: Sequence[str]) -> list[Column]:
    """COLUMNS, and after the run's name the keys that differ; the number of steps is in its own column."""
    rows = [cells(run.state, name) for run, name in zip(runs, names, strict=True)]
    columns = [
        Column(name, list(values), name in TO_THE_LEFT)
        for name, values in zip(COLUMNS, zip(*rows, strict=True), strict=True)
    ]
    keys = [
        Column(key, [value_text(run.config.get(key, ABSENT)) for run in runs], key=key)
        for key in differing_keys(runs)
        if key != "steps"
    ]
    return [*columns[:2], *keys, *columns[2:]]


def value_text(value: Any) -> str:
    text = printable(shown(value))
    return align(text, min(len(text), LONGEST), left=True)


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


def reason(run: RunState) -> str:
    """And where a run's end is not its own, where to read on."""
    log = ""
    if run.log and run.state in ("lost", "failed"):
        log = f"; see {Path(run.log).with_suffix('.err')}"
    return printable(f"{run.reason or ''}{log}")
