"""`runs.py list`: how each run stands, and the keys in which the runs differ."""

import argparse
import csv
import json
import shutil
import sys
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

from bn.compare.columns import COLUMNS, table
from bn.compare.filters import asked_for
from bn.compare.runs import Run, by_numbers, names_of
from bn.compare.settings import differing_keys, shown
from bn.compare.terminal import cut, is_coloured, width
from bn.errors import UserError
from bn.run.state import STATES, RunState


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
    """The runs asked for, sorted as asked for, those without a value last in either direction.

    UserError for a column to sort by that is not there.
    """
    runs = asked_for(arguments)
    if column := arguments.sort:
        field = {"run": "path", "images/s": "images_per_second"}.get(column) or str(column)
        known = {*RunState._fields, *(key for run in runs for key in run.config)}
        if runs and field not in known:
            accepted = ", ".join((*COLUMNS, *differing_keys(runs)))
            raise UserError(f"--sort={column}: unknown; accepted: {accepted}, or another key of config.yaml")
        with_one = [run for run in runs if run.get(field) is not None]
        without = [run for run in runs if run.get(field) is None]
        with_one.sort(key=lambda run: order(run.get(field)), reverse=arguments.reverse)
        return with_one + without
    return runs[::-1] if arguments.reverse else runs


def order(value: Any) -> tuple[bool, Any]:
    """A key that sorts numbers before texts."""
    is_number = isinstance(value, (int, float))
    return not is_number, value if is_number else by_numbers(str(value))


def write_csv(runs: Sequence[Run]) -> None:
    """All fields, the seed, and the keys that differ."""
    keys = ["seed", *(key for key in differing_keys(runs) if key not in RunState._fields)]
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow([*RunState._fields, *keys])
    for run in runs:
        values = (shown(run.config[key]) if key in run.config else "" for key in keys)
        writer.writerow([*map(rounded, run.state), *values])


def rounded(value: Any) -> Any:
    """Six digits of a number, and all before the point."""
    return round(value, max(0, 6 - len(f"{abs(value):.0f}"))) if isinstance(value, float) else value


def watch(arguments: argparse.Namespace) -> None:
    """Until Ctrl-C, also while no run is left: the next member of a sweep may be about to start."""
    terminal = sys.stdout.isatty()
    print("\x1b[2J" if terminal else "", end="")
    while True:
        note = f" ({time.strftime('%H:%M:%S')}, every {arguments.watch:g} s)"
        *rows, counts = listing(arguments, note)
        if terminal:  # over what is there, without a moment of nothing; of what is too long, the end
            room = max(1, shutil.get_terminal_size().lines - 3)
            lines = "".join(f"{line}\x1b[K\n" for line in (*rows[:1], *rows[1:][-room:], counts))
            print(f"\x1b[H{lines}\x1b[J", end="", flush=True)
        else:
            print(*rows, counts, "", sep="\n", flush=True)
        time.sleep(arguments.watch)


def listing(arguments: argparse.Namespace, note: str = "") -> list[str]:
    """The table, and as the last line the counts; on a terminal no line is wider than that."""
    runs = listed(arguments)
    number = Counter(run.state.state for run in runs)
    counts = ", ".join(f"{number[state]} {state}" for state in STATES if number[state])
    last = f"{len(runs)} run{'s' * (len(runs) != 1)}{': ' * bool(runs)}{counts}{note}"
    lines, hidden = table(runs, names_of(runs, arguments.folders), width(), is_coloured())
    if hidden:
        lines.append(cut(f"no room for {', '.join(hidden)}", width()))
    return [*lines, cut(last, width())]
