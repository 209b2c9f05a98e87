"""`runs.py rm`: removes the given runs.

A run directory is renamed to a hidden folder, which is not listed, and then deleted. A kill therefore never
leaves part of a run; `runs.py gc` removes the hidden folder.
"""

import argparse
import contextlib
import os
import shutil
import sys
import uuid
from pathlib import Path

from bn.compare.columns import described
from bn.compare.runs import Run, find_run
from bn.errors import UserError, printable
from bn.run.lock import RunLock

REMOVED = ".removed-"  # prefix of folders that are being deleted


def main(arguments: argparse.Namespace) -> None:
    runs = {run.path.absolute(): run for run in map(find_run, arguments.runs)}
    for run in runs.values():
        check(run)
    print(*map(described, runs.values()), sep="\n")
    if arguments.yes or confirmed(len(runs)):
        for path in runs:
            remove(path)


def check(run: Run) -> None:
    """UserError for a running run, a link, and a folder that is not a run directory."""
    name = os.path.relpath(run.path)
    if run.path.is_symlink():
        raise UserError(f"{name}: a link to {run.path.resolve()}; accepted: the folder itself")
    if not run.config.keys() >= {"experiment", "steps"}:
        raise UserError(f"{name}: its config.yaml is not that of a run; accepted: a run directory")
    if run.state.state == "running":
        raise UserError(f"{name}: running: stop it first")


def confirmed(number: int) -> bool:
    """Ask whether to remove so many runs or leftovers. UserError without a terminal."""
    if not sys.stdin.isatty():
        raise UserError("nothing removed: no terminal to ask for confirmation; accepted: --yes")
    try:
        answer = input(f"remove {'this' if number == 1 else f'these {number}'}? [y/N] ")
    except EOFError:
        answer = ""
    return answer.strip().lower() in ("y", "yes")


def remove(path: Path) -> None:
    """Remove a run directory. UserError if a process works there, or if it cannot be removed."""
    name, path = os.path.relpath(path), path.resolve()
    hidden = path.with_name(f"{REMOVED}{uuid.uuid4().hex[:12]}")
    try:
        with contextlib.closing(RunLock(path, name)):  # no process works there, nor can start to
            path.rename(hidden)
        shutil.rmtree(hidden)
    except OSError as error:
        raise UserError(f"{name}: cannot be removed ({error.strerror})") from error
    print(printable(f"removed {name}"))
