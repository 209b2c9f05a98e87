"""`runs.py list`: how each run stands, and the keys in which the runs differ."""

import argparse
import csv
import json
import shutil
import sys
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from bn.compare.filters import asked_for
from bn.compare.runs import Run, by_numbers, names_of
from bn.compare.settings import ABSENT, differing_keys, short_names, shown
from bn.compare.terminal import align, coloured, cut, is_coloured, span, width
from bn.errors import UserError, printable
from bn.run.state import STATES, RunState

COLUMNS = ("state", "run", "step", "accuracy", "images/s", "age", "job")
TO_THE_LEFT = ("state", "run", "job")
LEAST = 16  # of the column "run", which gives way first where a terminal is narrow; then these are left out
LONGEST = 24  # of a value of a key
LEFT_OUT = ("images/s", "age", "job", "step")


def main(arguments: argparse.Namespace) -> None:
    if arguments.json:
        for run in listed(arguments):
            print(json.dumps({**run.state._asdict(), "config": run.config}, default=str))
    elif arguments.csv:
        write_csv(listed(arguments))
    elif arguments.watch:
        watch(arguments)
    else:
        print(*listing(arguments), sep="\n")


def listed(arguments: argparse.Namespace) -> list[Run]:
    """The runs asked for, sorted as asked for. UserError for a column to sort by that is not there."""
    runs = asked_for(arguments)
    if column := arguments.sort:
        field = {"run": "path", "images/s": "images_per_second"}.get(column) or str(column)
        known = {*RunState._fields, *(key for run in runs for key in run.config)}
        if runs and field not in known:
            accepted = ", ".join((*COLUMNS, *differing_keys(runs)))
            raise UserError(f"--sort={column}: unknown; accepted: {accepted}, or another key of config.yaml")
        runs.sort(key=lambda run: order(run.get(field)))
    return runs[::-1] if arguments.reverse else runs


def order(value: Any) -> tuple[bool, bool, Any]:
    """A key that sorts numbers before texts, and what is not known last."""
    is_number = isinstance(value, (int, float))
    return value is None, not is_number, value if is_number else by_numbers(str(value))


def write_csv(runs: Sequence[Run]) -> None:
    """All fields, the seed, and the keys that differ."""
    keys = ["seed", *differing_keys(runs)]
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow([*RunState._fields, *keys])
    for run in runs:
        values = (shown(run.config[key]) if key in run.config else "" for key in keys)
        writer.writerow([*run.state, *values])


def watch(arguments: argparse.Namespace) -> None:
    """Until Ctrl-C, also while no run is left: the next member of a sweep may be about to start."""
    terminal = sys.stdout.isatty()
    print("\x1b[2J" if terminal else "", end="")
    while True:
        note = f" ({time.strftime('%H:%M:%S')}, every {arguments.watch:g} s)"
        *table, counts = listing(arguments, note)
        if terminal:  # over what is there, without a moment of nothing; of what is too long, the end
            room = max(1, shutil.get_terminal_size().lines - 3)
            lines = "".join(f"{line}\x1b[K\n" for line in (*table[:1], *table[1:][-room:], counts))
            print(f"\x1b[H{lines}\x1b[J", end="", flush=True)
        else:
            print(*table, counts, "", sep="\n", flush=True)
        time.sleep(arguments.watch)


def listing(arguments: argparse.Namespace, note: str = "") -> list[str]:
    """The table, and as the last line the counts; on a terminal no line is wider than that."""
    runs = listed(arguments)
    number = Counter(run.state.state for run in runs)
    counts = ", ".join(f"{number[state]} {state}" for state in STATES if number[state])
    last = f"{len(runs)} run{'s' * (len(runs) != 1)}{': ' * bool(runs)}{counts}{note}"
    lines, hidden = table(runs, names_of(runs, arguments.folders), width(), is_coloured())
    also = f"; no room for {', '.join(hidden)}" if hidden else ""
    return [*lines, cut(f"{last}{also}", width())]


class Column(NamedTuple):
    name: str
    cells: list[str]
    left: bool

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
    """The columns for which there is room once "run" has given way; and the keys for which there is none.

    Where it is narrow, keys have their short names, and what tells runs apart stays longest.
    """
    keys = [column.name for column in columns if column.name not in COLUMNS]
    spare = sum(max(0, column.width - LEAST) for column in columns if column.name == "run")

    def fits() -> bool:
        return room(columns, width) + spare + 2 >= 0

    if not keys or fits():
        return columns, []
    short = short_names(keys)
    columns = [column._replace(name=short.get(column.name, column.name)) for column in columns]
    hidden = []
    for name in (*LEFT_OUT, *(short[key] for key in reversed(keys[1:]))):
        if not fits() and any(column.name == name for column in columns):
            columns = [column for column in columns if column.name != name]
            hidden.append(name)
    return columns, [key for key in keys if short[key] in hidden]


def columns_of(runs: Sequence[Run], names: Sequence[str]) -> list[Column]:
    """COLUMNS, and after the run's name the keys that differ."""
    rows = [cells(run.state, name) for run, name in zip(runs, names, strict=True)]
    columns = [
        Column(name, list(values), name in TO_THE_LEFT)
        for name, values in zip(COLUMNS, zip(*rows, strict=True), strict=True)
    ]
    keys = [
        Column(key, [value_text(run.config.get(key, ABSENT)) for run in runs], False)
        for key in differing_keys(runs)
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
    log = f"; see {run.log}" if run.log and run.state in ("lost", "failed") else ""
    return printable(f"{run.reason or ''}{log}")
