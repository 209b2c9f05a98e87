"""The code as it is on the disk: the commit, and what differs from it."""

import hashlib
import os
import subprocess
import threading
import time
from pathlib import Path
from typing import NamedTuple

REPOSITORY = Path(__file__).resolve().parents[2]

# What scripts/reproduce.py writes is left out: collected records make the tree differ, not the code.
CODE = (".", ":!results", ":!README.md", ":!docs")
NEW_CODE = ("*.py", "*.yaml", ":!results")

# Whatever lies in the checkout, a start takes no longer than this, and no more is kept of the differences.
MOST_S = 20.0  # after which git is asked nothing more
MOST_BYTES = 1 << 20  # of a file that git does not know, and of the differences in all that it knows
MOST_FILES = 200  # that git does not know


class CodeState(NamedTuple):
    commit: str | None  # None: there is no git here, or no repository
    changes: str  # as git diff writes them, files of code that git does not know yet included; empty: none

    @property
    def digest(self) -> str | None:
        """What tells two sets of changes apart; None where there are none."""
        return hashlib.sha256(self.changes.encode()).hexdigest() if self.changes else None

    @property
    def name(self) -> str:
        """The commit as a person names it."""
        return short(self.commit) + " with changes" * bool(self.changes)


def short(commit: str | None) -> str:
    return commit[:10] if commit else "unknown: no git"


def code_state() -> CodeState:
    """The state of the repository that this code is the top level of; another one's says nothing of it."""
    until = time.monotonic() + MOST_S
    top = _git("rev-parse", "--show-toplevel", "HEAD", until=until)
    if top is None or len(top.splitlines()) != 2:
        return CodeState(None, "")
    folder, commit = top.splitlines()
    if not os.path.samefile(folder, REPOSITORY):
        return CodeState(None, "")
    changes = [_diff("HEAD", "--", *CODE, until=until)]
    new = _new_files(until)
    for path in new[:MOST_FILES]:
        size = _size(path)
        if size > MOST_BYTES:
            changes.append(f"and {path}, {size} bytes\n")
        else:  # nothing to compare with makes git exit with 1: there is a difference
            changes.append(_diff("--no-index", "/dev/null", path, until=until))
    if more := new[MOST_FILES:]:
        digest = hashlib.sha256("\0".join(more).encode()).hexdigest()
        changes.append(
            f"and {len(more)} more files that git does not know (SHA-256 of their names {digest})\n"
        )
    return CodeState(commit, "".join(text for text in changes if text))


def _size(path: str) -> int:
    try:
        return (REPOSITORY / path).stat().st_size
    except OSError:
        return 0


def _new_files(until: float) -> list[str]:
    """The files of code that git does not know, the nearest first; a virtual environment is no code."""
    options = ("--others", "--exclude-standard", "-z", "--")
    listed = _git("ls-files", *options, "*pyvenv.cfg", *NEW_CODE, until=until, most=MOST_BYTES)
    paths = (listed or "").split("\0")[:-1]
    environments = tuple(path.removesuffix("pyvenv.cfg") for path in paths if path.endswith("pyvenv.cfg"))
    new = [
        path
        for path in paths
        if not path.endswith("pyvenv.cfg") and not (environments and path.startswith(environments))
    ]
    return sorted(new, key=lambda path: (path.count("/"), path))


def _diff(*arguments: str, until: float) -> str | None:
    # Whatever the user's own settings of git are, and on whatever node.
    return _git(
        "diff", "--binary", "--no-color", "--no-ext-diff", "--no-textconv", *arguments, until=until,
        most=MOST_BYTES,
    )  # fmt: skip


def _git(*arguments: str, until: float, most: int | None = None) -> str | None:
    """The output of git in the repository, or None where there is no git or no repository.

    Of more than `most` bytes the beginning, and a digest of all that came in time; without `most` None where
    git did not end in time.
    """
    # Variables such as GIT_DIR say which repository: of somebody else's command.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        process = subprocess.Popen(
            ["git", *arguments], cwd=REPOSITORY, env=environment, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )  # fmt: skip
    except OSError:
        return None
    timer = threading.Timer(max(0.0, until - time.monotonic()), process.kill)
    timer.start()
    kept, digest, size = b"", hashlib.sha256(), 0
    try:
        with process:
            assert process.stdout is not None
            while block := process.stdout.read(1 << 16):
                digest.update(block)
                size += len(block)
                kept += block if most is None or len(kept) < most else b""
    finally:
        timer.cancel()
    if process.returncode > 1 or (process.returncode < 0 and most is None):
        return None
    text = kept.decode(errors="replace")
    if process.returncode < 0 or len(kept) < size:
        text += f"\ncut here: {size} bytes came within {MOST_S:g} s, their SHA-256 is {digest.hexdigest()}\n"
    return text
