"""`runs.py gc`: removes what kills and failed attempts leave.

- runs that are lost or failed and hold no step: neither a row of metrics.jsonl nor a checkpoint;
- parts of files whose writers are gone;
- what a killed `runs.py rm` left;
- folders that hold nothing, untouched for an hour.
"""

import argparse
import contextlib
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from bn.compare.columns import described
from bn.compare.filters import Condition, chosen, folders_and_conditions
from bn.compare.removal import REMOVED, agreed, check, remove
from bn.compare.runs import Run
from bn.errors import UserError, printable
from bn.files import open_locked, remove_partial_files

HOUR = 3600.0
PART = re.compile(r"(.+)\.[0-9a-f]{12}\.part")  # of a file, as `bn.files.atomic_file` names it
GONE = re.compile(rf"{re.escape(REMOVED)}[0-9a-f]{{12}}")


class Leftover(NamedTuple):
    path: Path
    what: str
    remove: Callable[[Path], object]


def main(arguments: argparse.Namespace) -> None:
    which = folders_and_conditions(arguments.what)
    found = list(dict.fromkeys(leftovers(*which)))
    if not found:
        print("nothing to remove")
        return
    print(*(printable(each.what) for each in found), sep="\n")
    if arguments.yes or agreed(len(found)):
        still = set(leftovers(*which))  # meanwhile a run may have been started again
        for each in found:
            if each in still:
                each.remove(each.path)


def leftovers(folders: Sequence[Path], conditions: Sequence[Condition]) -> Iterator[Leftover]:
    """Those in the folders; with conditions only runs, since nothing else has keys."""
    for run in chosen(folders, conditions):
        if holds_nothing(run):
            yield Leftover(run.path, f"{described(run)}: no step is recorded", remove)
    for folder in () if conditions else folders:
        yield from files_and_folders(folder)


def holds_nothing(run: Run) -> bool:
    """Whether nothing was trained there, and nobody is about to."""
    metrics = run.path / "metrics.jsonl"
    if run.state.state not in ("lost", "failed") or run.state.step:
        return False
    if (metrics.exists() and metrics.stat().st_size) or any(run.path.glob("checkpoints/*")):
        return False
    with contextlib.suppress(UserError):
        check(run)
        return True
    return False


def files_and_folders(folder: Path) -> Iterator[Leftover]:
    """Parts of files, removed runs and empty folders, the inner ones first; links are not followed."""
    empty = set()
    for name, inner, files in os.walk(folder, topdown=False):
        here = Path(name)
        shown = os.path.relpath(here)
        for part in filter(is_left, (here / file for file in files)):
            yield Leftover(part, f"{os.path.relpath(part)}: a file that was not finished", remove_part)
        if GONE.fullmatch(here.name):
            yield Leftover(here, f"{shown}: of a run that was removed", remove_tree)
        hidden = any(part.startswith(".") for part in here.relative_to(folder).parts)
        if here == folder or hidden or files or not {here / each for each in inner} <= empty:
            continue
        if time.time() - here.stat().st_mtime > HOUR:  # a run that starts makes its folder first
            empty.add(here)
            yield Leftover(here, f"{shown}: an empty folder", remove_empty)


def is_left(file: Path) -> bool:
    """Whether it is a part of a file, and its writer is gone."""
    with contextlib.suppress(OSError):  # it is being written
        if PART.fullmatch(file.name) and file.is_file():
            open_locked(file, "r+b").close()
            return True
    return False


def remove_part(part: Path) -> None:
    remove_partial_files(part.parent, PART.sub(r"\1", part.name))


def remove_tree(path: Path) -> None:
    shutil.rmtree(path, ignore_errors=True)


def remove_empty(path: Path) -> None:
    with contextlib.suppress(OSError):  # no longer empty
        path.rmdir()
