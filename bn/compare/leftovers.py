"""`runs.py gc`: removes the leftovers of kills and failed attempts.

- lost or failed runs without any step, that is, without a row in metrics.jsonl and without a checkpoint;
- partial files whose writer has ended;
- folders left by a killed `runs.py rm`;
- empty folders, unchanged for an hour.
"""

import argparse
import contextlib
import functools
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from bn.compare.columns import described
from bn.compare.filters import Condition, parse_selection, select_runs
from bn.compare.removal import REMOVED, check, confirmed, remove
from bn.compare.runs import Run
from bn.errors import UserError, printable
from bn.files import open_locked, remove_partial_files

HOUR = 3600.0
PART = re.compile(r"(.+)\.[0-9a-f]{12}\.part")  # a partial file of `bn.files.atomic_file`
REMOVED_FOLDER = re.compile(rf"{re.escape(REMOVED)}[0-9a-f]{{12}}")


class Leftover(NamedTuple):
    path: Path
    description: str
    remove: Callable[[Path], object]


def main(arguments: argparse.Namespace) -> None:
    selection = parse_selection(arguments.what)
    found = list(dict.fromkeys(leftovers(*selection)))
    if not found:
        print("nothing to remove")
        return
    print(*(printable(each.description) for each in found), sep="\n")
    if arguments.yes or confirmed(len(found)):
        still = set(leftovers(*selection))  # a run may have been restarted in the meantime
        for each in found:
            if each in still:
                each.remove(each.path)


def leftovers(folders: Sequence[Path], conditions: Sequence[Condition]) -> Iterator[Leftover]:
    """The leftovers in the folders. With conditions, runs only, since nothing else has keys."""
    for run in select_runs(folders, conditions):
        if is_untrained(run):
            yield Leftover(run.path, f"{described(run)}: no step is recorded", remove)
    for folder in () if conditions else folders:
        yield from files_and_folders(folder)


def is_untrained(run: Run) -> bool:
    """Whether the run has no steps, and no process works on it."""
    metrics = run.path / "metrics.jsonl"
    has_rows = metrics.exists() and metrics.stat().st_size
    if run.state.state in ("lost", "failed") and not run.state.step and not has_rows:
        with contextlib.suppress(UserError):
            check(run)
            return not any(run.path.glob("checkpoints/*"))
    return False


def files_and_folders(folder: Path) -> Iterator[Leftover]:
    """Partial files, removed runs and empty folders, inner ones first. Links are not followed."""
    empty = set()
    for name, inner, files in os.walk(folder, topdown=False):
        here = Path(name)
        shown = os.path.relpath(here)
        for part in filter(is_abandoned, (here / file for file in files)):
            yield Leftover(part, f"{os.path.relpath(part)}: a partial file", remove_part)
        if REMOVED_FOLDER.fullmatch(here.name):
            yield Leftover(here, f"{shown}: files of a removed run", remove_tree)
        hidden = any(part.startswith(".") for part in here.relative_to(folder).parts)
        if here == folder or hidden or files or not {here / each for each in inner} <= empty:
            continue
        if time.time() - here.stat().st_mtime > HOUR:  # a newer one may belong to a run that is starting
            empty.add(here)
            yield Leftover(here, f"{shown}: an empty folder", remove_empty)


def is_abandoned(file: Path) -> bool:
    """Whether it is a partial file whose writer has ended."""
    with contextlib.suppress(OSError):  # locked by its writer
        if PART.fullmatch(file.name) and file.is_file():
            open_locked(file, "r+b").close()
            return True
    return False


def remove_part(part: Path) -> None:
    remove_partial_files(part.parent, PART.sub(r"\1", part.name))


def remove_empty(path: Path) -> None:
    with contextlib.suppress(OSError):  # no longer empty
        path.rmdir()


remove_tree = functools.partial(shutil.rmtree, ignore_errors=True)
