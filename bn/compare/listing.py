"""`runs.py list`: how each run stands, and the keys in which the runs differ."""

import argparse
import json
import os
import shutil
import sys
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

from bn.compare.columns import table
from bn.compare.filters import check_key, chosen, folders_and_conditions
from bn.compare.runs import Run, by_numbers
from bn.compare.settings import differing_keys, shown
from bn.compare.terminal import EVERY, csv_line, cut, width
from bn.errors import UserError
from bn.run.state import STATES, RunState


def main(arguments: argparse.Namespace) -> None:
    if arguments.watch + arguments.json + arguments.csv > 1:
        raise UserError("--watch, --json, --csv: accepted: one of them")
    if arguments.watch:
        watch(arguments)
    else:
        sys.stdout.writelines(f"{line}\n" for line in listing(arguments))


def listing(arguments: argparse.Namespace, note: str = "") -> list[str]:
    """The table, and as the last line the counts; on a terminal no line is wider than that.

    With --json a line for each run, with --csv a header too. UserError for a column to sort by that is not
    there.
    """
    folders, conditions = folders_and_conditions(arguments.what)
    runs = chosen(folders, conditions)
    if arguments.sort:
        field = {"run": "path", "images/s": "images_per_second"}.get(arguments.sort, str(arguments.sort))
        check_key(runs, field)
        runs.sort(key=lambda run: order(run.get(field)))
    if arguments.json:
        return [json.dumps({**run.state._asdict(), "config": run.config}, default=str) for run in runs]
    if arguments.csv:
        return csv_lines(runs)
    start = folders[0] if len(folders) == 1 else None
    names = [os.path.relpath(run.path, start) for run in runs]
    number = Counter(run.state.state for run in runs)
    counts = ", ".join(f"{number[state]} {state}" for state in STATES if number[state])
    last = f"{len(runs)} run{'s' * (len(runs) != 1)}{': ' * bool(runs)}{counts}{note}"
    return [*table(runs, names, width()), cut(last, width())]


def csv_lines(runs: Sequence[Run]) -> list[str]:
    """How each run stands, its seed, and the keys that differ."""
    keys = ["seed", *(key for key in differing_keys(runs) if key not in RunState._fields)]
    rows = [
        [*run.state, *(shown(run.config[key]) if key in run.config else None for key in keys)] for run in runs
    ]
    return [csv_line(row) for row in ([*RunState._fields, *keys], *rows)]


def order(value: Any) -> tuple[int, Any]:
    """A key that sorts numbers before texts, and what is not known last."""
    if isinstance(value, (int, float)):
        return 0, value
    return (2, 0) if value is None else (1, by_numbers(str(value)))


def watch(arguments: argparse.Namespace) -> None:
    """Until Ctrl-C, also while no run is left: the next member of a sweep may be about to start."""
    while True:
        note = f" ({time.strftime('%H:%M:%S')}, every {EVERY} s)"
        *rows, counts = listing(arguments, note)
        if sys.stdout.isatty():  # in the same place; of what is too long, the end
            room = max(1, shutil.get_terminal_size().lines - 4)
            rows = [*rows[:1], *rows[1:][-room:]]
            print("\x1b[H\x1b[2J", end="")
        print(*rows, counts, "", sep="\n", flush=True)
        time.sleep(EVERY)
