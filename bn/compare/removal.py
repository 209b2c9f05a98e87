"""`runs.py rm`: removes the runs that are named, and nothing else.

A run vanishes at once, by a new name that no list shows, and then its files are removed. What a kill in
between leaves is no half of a run, and `runs.py gc` removes it.
"""

import argparse
import contextlib
import fcntl
import os
import shutil
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

from bn.compare.columns import cells
from bn.compare.runs import Run, run_named
from bn.errors import UserError, printable
from bn.files import open_locked

REMOVED = ".removed-"  # begins the name of what is being removed


def main(arguments: argparse.Namespace) -> None:
    runs = {run.path.absolute(): run for run in map(run_named, arguments.runs)}
    for run in runs.values():
        check(run)
    if agreed([described(run) for run in runs.values()], arguments.yes):
        for run in runs.values():
            remove(run.path)


def check(run: Run) -> None:
    """UserError for what is not a run of this program, is running, or is a link."""
    name = os.path.relpath(run.path)
    if run.path.is_symlink():
        raise UserError(f"{name}: a link to {run.path.resolve()}: accepted: the folder itself")
    if not run.config.keys() >= {"experiment", "steps"}:
        raise UserError(f"{name}: its config.yaml is not that of a run: accepted: a run directory")
    if run.state.state == "running":
        raise UserError(f"{name}: running: stop it first")


def described(run: Run) -> str:
    state, name, step, accuracy, *_ = cells(run.state, os.path.relpath(run.path))
    return ", ".join(filter(None, (f"{name}: {state}", f"step {step}" * bool(step), accuracy)))


def agreed(lines: list[str], yes: bool) -> bool:
    """Whether to remove what the lines say. UserError where nobody can be asked."""
    print(*map(printable, lines), sep="\n")
    if yes:
        return True
    if not sys.stdin.isatty():
        raise UserError("nothing is removed: there is no terminal to ask at; accepted: --yes")
    try:
        answer = input(f"remove {'this' if len(lines) == 1 else f'these {len(lines)}'}? [y/N] ")
    except EOFError:
        answer = ""
    return answer.strip().lower() in ("y", "yes")


def remove(path: Path) -> None:
    """Remove a run directory. UserError where somebody works there, or where it cannot be removed."""
    name, path = os.path.relpath(path), path.resolve()
    gone = path.with_name(f"{REMOVED}{uuid.uuid4().hex[:12]}")
    try:
        with held(path):
            path.rename(gone)
        shutil.rmtree(gone)
    except BlockingIOError:
        raise UserError(f"{name}: running: stop it first") from None
    except OSError as error:
        raise UserError(f"{name}: cannot be removed ({error.strerror})") from error
    print(printable(f"removed {name}"))


@contextlib.contextmanager
def held(path: Path) -> Iterator[None]:
    """Nobody can begin to work in the run directory. BlockingIOError where somebody works there.

    As `RunDirectory.open` does it: the folder and its lock.
    """
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise
        except OSError:
            pass  # a network file system that cannot lock a folder
        with open_locked(path / "lock"):
            yield
    finally:
        os.close(folder)
