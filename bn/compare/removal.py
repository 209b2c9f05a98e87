"""`runs.py rm`: removes the runs that are named, and nothing else.

A run vanishes at once, by a new name that no list shows, and then its files are removed. What a kill in
between leaves is no half of a run but a hidden folder beside it, which `runs.py gc` removes.
"""

import argparse
import contextlib
import os
import shutil
import sys
import uuid
from pathlib import Path

from bn.compare.columns import described
from bn.compare.runs import Run, run_named
from bn.errors import UserError, printable
from bn.run.lock import RunLock

REMOVED = ".removed-"  # begins the name of what is being removed


def main(arguments: argparse.Namespace) -> None:
    runs = {run.path.absolute(): run for run in map(run_named, arguments.runs)}
    for run in runs.values():
        check(run)
    print(*map(described, runs.values()), sep="\n")
    if arguments.yes or agreed(len(runs)):
        for path in runs:
            remove(path)


def check(run: Run) -> None:
    """UserError for what is not a run of this program, is running, or is a link."""
    name = os.path.relpath(run.path)
    if run.path.is_symlink():
        raise UserError(f"{name}: a link to {run.path.resolve()}: accepted: the folder itself")
    if not run.config.keys() >= {"experiment", "steps"}:
        raise UserError(f"{name}: its config.yaml is not that of a run: accepted: a run directory")
    if run.state.state == "running":
        raise UserError(f"{name}: running: stop it first")


def agreed(number: int) -> bool:
    """Whether to remove so many. UserError where nobody can be asked."""
    if not sys.stdin.isatty():
        raise UserError("nothing is removed: there is no terminal to ask at; accepted: --yes")
    try:
        answer = input(f"remove {'this' if number == 1 else f'these {number}'}? [y/N] ")
    except EOFError:
        answer = ""
    return answer.strip().lower() in ("y", "yes")


def remove(path: Path) -> None:
    """Remove a run directory. UserError where somebody works there, or where it cannot be removed."""
    name, path = os.path.relpath(path), path.resolve()
    gone = path.with_name(f"{REMOVED}{uuid.uuid4().hex[:12]}")
    try:
        with contextlib.closing(RunLock(path, name)):  # nobody works there, nor can begin to
            path.rename(gone)
        shutil.rmtree(gone)
    except OSError as error:
        raise UserError(f"{name}: cannot be removed ({error.strerror})") from error
    print(printable(f"removed {name}"))
