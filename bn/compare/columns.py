"""The table of `runs.py list`: its columns, and which of them give way where a terminal is narrow."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from bn.compare.runs import Run
from bn.compare.settings import ABSENT, brief, differing_keys, short_names, shown
from bn.compare.terminal import align, coloured, cut, span
from bn.errors import printable
from bn.run.state import RunState

COLUMNS = ("state", "run", "step", "accuracy", "images/s", "age", "job")
TO_THE_LEFT = ("state", "run", "job")
LEFT_OUT = ("images/s", "job", "age")  # first, where there is no room
HEADING = 8  # characters of the heading of a key, where there is no room for more


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
    columns, hidden = fitted([column for column in columns_of(runs, names) if any(column.cells)], runs, width)
    if beside := width_of(columns) + 2 + max(map(len, reasons)) <= width:
        reasons[0] = "reason" * any(reasons)
    lines = []
    for row, why in zip(rows_of(columns), reasons, strict=True):
        aligned = [align(text, c.width, c.left) for text, c in zip(row, columns, strict=True)]
        line = cut("  ".join([*aligned, why if beside else ""]).rstrip(), width)
        lines.append(coloured(line, row[0]) if in_colour else line)
        if why and not beside:
            lines.append(cut(f"    {why}", width))
    return lines, hidden


def rows_of(columns: Sequence[Column]) -> Iterable[tuple[str, ...]]:
    return zip(*([column.name, *column.cells] for column in columns), strict=True)


def width_of(columns: Sequence[Column]) -> int:
    return sum(column.width + 2 for column in columns) - 2


def fitted(columns: list[Column], runs: Sequence[Run], width: int) -> tuple[list[Column], list[str]]:
    """The columns for which there is room, narrower where need be; and the keys for which there is none.

    A name is shown as it can be typed or not at all: in its place come the run's id, experiment and seed.
    """
    if width_of(columns) <= width:
        return columns, []
    keys = [column.key for column in columns if column.key]
    short = short_names(keys)
    columns = [column._replace(name=short.get(column.key or "", column.name)) for column in columns]
    columns = [columns[0], *identity(runs), *columns[2:]]
    for name in LEFT_OUT:
        if width_of(columns) > width:
            columns = [column for column in columns if column.name != name or column.key]
    if width_of(columns) > width:
        columns = [column._replace(name=heading(column)) for column in columns]
    if width_of(columns) > width:
        columns = [
            trained(runs) if column.name == "step" and not column.key else column for column in columns
        ]
    hidden = []
    while width_of(columns) > width and (of_keys := [column for column in columns if column.key]):
        # It tells the fewest runs apart, or takes the most room.
        least = min(reversed(of_keys), key=lambda column: (len(set(column.cells)), -column.width))
        columns.remove(least)
        hidden.append(least.key)
    return columns, [key for key in keys if key in hidden]


def identity(runs: Sequence[Run]) -> list[Column]:
    """What tells the runs apart beside the keys in which they differ."""
    return [
        Column("id", [run.id for run in runs]),
        Column("experiment", [printable(run.state.experiment) for run in runs], left=True),
        Column("seed", [str(run.config.get("seed", "")) for run in runs]),
    ]


def trained(runs: Sequence[Run]) -> Column:
    """The step as a share of all, which is shorter."""
    steps = [(run.state.step, run.state.steps) for run in runs]
    return Column("trained", [f"{(step or 0) / of:.0%}" if of else "" for step, of in steps])


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
        Column(key, [brief(printable(shown(run.config.get(key, ABSENT)))) for run in runs], key=key)
        for key in differing_keys(runs)
        if key != "steps"
    ]
    return [*columns[:2], *keys, *columns[2:]]


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
