"""The state of the code: its commit and uncommitted changes."""

import hashlib
import os
import subprocess
import threading
import time
from typing import NamedTuple

from bn.files import REPOSITORY

# Files that scripts/reproduce.py writes are excluded: collected records change the tree, not the code.
CODE = (".", ":!results", ":!README.md", ":!docs")
NEW_CODE = ("*.py", "*.yaml", ":!results")

# Limits that hold whatever is in the checkout.
MAX_S = 20.0  # for all git commands together
MAX_BYTES = 1 << 20  # of one untracked file, and of the diff of all tracked files
MAX_FILES = 200  # untracked files


class CodeState(NamedTuple):
    commit: str | None  # None: no git, or no repository
    changes: str  # the output of git diff, untracked code files included; empty: none

    @property
    def digest(self) -> str | None:
        """The SHA-256 of the changes; None if there are none."""
        return hashlib.sha256(self.changes.encode()).hexdigest() if self.changes else None

    @property
    def name(self) -> str:
        """The commit in short form, for messages."""
        return short(self.commit) + " with changes" * bool(self.changes)


def short(commit: str | None) -> str:
    return commit[:10] if commit else "unknown: no git"


def code_state() -> CodeState:
    """Return the state of this code's repository; a repository that merely surrounds it does not count."""
    until = time.monotonic() + MAX_S
    top = _git("rev-parse", "--show-toplevel", "HEAD", until=until)
    if top is None or len(top.splitlines()) != 2:
        return CodeState(None, "")
    folder, commit = top.splitlines()
    if not os.path.samefile(folder, REPOSITORY):
        return CodeState(None, "")
    changes = [_diff("HEAD", "--", *CODE, until=until)]
    new = _new_files(until)
    for path in new[:MAX_FILES]:
        size = _size(path)
        if size > MAX_BYTES:
            changes.append(f"and {path}, {size} bytes\n")
        else:  # git exits with 1, since the files differ
            changes.append(_diff("--no-index", "/dev/null", path, until=until))
    if more := new[MAX_FILES:]:
        digest = hashlib.sha256("\0".join(more).encode()).hexdigest()
        changes.append(f"and {len(more)} more files not in git (SHA-256 of their names {digest})\n")
    return CodeState(commit, "".join(text for text in changes if text))


def _size(path: str) -> int:
    try:
        return (REPOSITORY / path).stat().st_size
    except OSError:
        return 0


def _new_files(until: float) -> list[str]:
    """The untracked code files, those nearest to the root first, without virtual environments."""
    options = ("--others", "--exclude-standard", "-z", "--")
    listed = _git("ls-files", *options, "*pyvenv.cfg", *NEW_CODE, until=until, most=MAX_BYTES)
    paths = (listed or "").split("\0")[:-1]
    environments = tuple(path.removesuffix("pyvenv.cfg") for path in paths if path.endswith("pyvenv.cfg"))
    new = [path for path in paths if not path.startswith(environments)]
    return sorted(new, key=lambda path: (path.count("/"), path))


def _diff(*arguments: str, until: float) -> str | None:
    # The options override the user's git settings, so that all nodes give the same diff.
    options = ("--binary", "--no-color", "--no-ext-diff", "--no-textconv")
    return _git("diff", *options, *arguments, until=until, most=MAX_BYTES)


def _git(*arguments: str, until: float, most: int | None = None) -> str | None:
    """Return the output of a git command in the repository; None without git or a repository.

    Output of more than `most` bytes, or that git had not completed in time, is cut, and a digest of all that
    was read is appended. Without `most`, return None if git did not finish in time.
    """
    # GIT_DIR and other GIT_* variables may point to another repository.
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
        text += f"\ncut here: {size} bytes read within {MAX_S:g} s, their SHA-256 is {digest.hexdigest()}\n"
    return text
