"""`runs.py gc`: removes what kills and failed attempts leave.

- parts of files whose writers are gone (`*.part`);
- what a killed `runs.py rm` left;
- runs that are lost or failed and hold no step: neither a row of metrics.jsonl nor a checkpoint;
- folders that hold nothing, untouched for an hour.
"""

import argparse
import contextlib
import os
import re
import shutil
import time
from pathlib import Path

from bn.compare.removal import REMOVED, agreed, check, described, remove
from bn.compare.runs import RUNS, Run, runs_in
from bn.errors import UserError
from bn.files import open_locked

HOUR = 3600.0
PART = re.compile(r".+\.[0-9a-f]{12}\.part")  # as bn.files.whole names them


def main(arguments: argparse.Namespace) -> None:
    folders = arguments.folders or [RUNS]
    for folder in folders:
        if not folder.is_dir() and folder != RUNS:
            raise UserError(f"{folder}: no such folder")
    runs = [run for run in runs_in(folders) if holds_nothing(run)]
    parts = [part for folder in folders for part in parts_in(folder)]
    removed = [path for folder in folders for path in folder.rglob(f"{REMOVED}*")]
    empty = [path for folder in folders for path in empty_in(folder)]
    lines = [
        *(f"{described(run)}: no step is recorded" for run in runs),
        *(f"{os.path.relpath(path)}: a file that was not finished" for path in parts),
        *(f"{os.path.relpath(path)}: of a run that was removed" for path in removed),
        *(f"{os.path.relpath(path)}: an empty folder" for path in empty),
    ]
    if not lines:
        print("nothing to remove")
    elif agreed(lines, arguments.yes):
        for run in runs:
            remove(run.path)
        for part in parts:
            remove_part(part)
        for path in removed:
            shutil.rmtree(path, ignore_errors=True)
        for path in empty:
            with contextlib.suppress(OSError):  # no longer empty
                path.rmdir()


def holds_nothing(run: Run) -> bool:
    """Whether nothing was trained there, and nobody is about to."""
    metrics = run.path / "metrics.jsonl"
    return (
        run.state.state in ("lost", "failed")
        and not run.state.step
        and not (metrics.exists() and metrics.stat().st_size)
        and not any(run.path.glob("checkpoints/*"))
        and is_removable(run)
    )


def is_removable(run: Run) -> bool:
    try:
        check(run)
    except UserError:
        return False
    return True


def parts_in(folder: Path) -> list[Path]:
    """The parts of files below the folder whose writers are gone."""
    found = []
    for part in sorted(folder.rglob("*.part")):
        with contextlib.suppress(OSError):  # it is being written
            if PART.fullmatch(part.name) and part.is_file():
                open_locked(part, "r+b").close()
                found.append(part)
    return found


def remove_part(part: Path) -> None:
    with contextlib.suppress(OSError), open_locked(part, "r+b"):
        part.unlink(missing_ok=True)


def empty_in(folder: Path) -> list[Path]:
    """The folders below this one without a file, the inner ones first; hidden ones are not looked into."""
    found: list[Path] = []
    for name, folders, files in os.walk(folder, topdown=False):
        path = Path(name)
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        holds = files or any(path / inner not in found for inner in folders)
        if path == folder or hidden or holds or path.is_symlink():
            continue
        if time.time() - path.stat().st_mtime > HOUR:  # a run that starts makes its folder first
            found.append(path)
    return found
