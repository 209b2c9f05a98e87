"""`runs.py list`: the state of each run, and the keys in which runs differ."""

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
from bn.compare.filters import check_key, parse_selection, select_runs
from bn.compare.runs import Run, natural_key
from bn.compare.settings import differing_keys, shown
from bn.compare.terminal import REFRESH_S, csv_line, cut, width
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
    """The lines of the table, cut to the width of the terminal, and a last line with counts.

    With --json or --csv, a line for each run. UserError for an unknown column to sort by.
    """
    folders, conditions = parse_selection(arguments.what)
    runs = select_runs(folders, conditions)
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
    """A header, and a line for each run: its state, seed, and the keys that differ."""
    keys = ["seed", *(key for key in differing_keys(runs) if key not in RunState._fields)]
    rows = [
        [*run.state, *(shown(run.config[key]) if key in run.config else None for key in keys)] for run in runs
    ]
    return [csv_line(row) for row in ([*RunState._fields, *keys], *rows)]


def order(value: Any) -> tuple[int, Any]:
    """A sort key: numbers, then texts, then None."""
    if isinstance(value, (int, float)):
        return 0, value
    return (2, 0) if value is None else (1, natural_key(str(value)))


def watch(arguments: argparse.Namespace) -> None:
    """Repeat until Ctrl-C, even without runs: the next member of a sweep may be about to start."""
    while True:
        note = f" ({time.strftime('%H:%M:%S')}, every {REFRESH_S} s)"
        *rows, counts = listing(arguments, note)
        if sys.stdout.isatty():  # redraw in place; show the end of a list that is too long
            room = max(1, shutil.get_terminal_size().lines - 4)
            rows = [*rows[:1], *rows[1:][-room:]]
            print("\x1b[H\x1b[2J", end="")
        print(*rows, counts, "", sep="\n", flush=True)
        time.sleep(REFRESH_S)
