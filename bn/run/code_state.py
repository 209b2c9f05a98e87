"""The code as it is on the disk: the commit, and what differs from it."""

import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import NamedTuple

REPOSITORY = Path(__file__).resolve().parents[2]

# What scripts/reproduce.py writes is left out: collected records make the tree differ, not the code.
CODE = (".", ":!results", ":!README.md", ":!docs")
NEW_CODE = ("*.py", "*.yaml", ":!results", ":!docs")  # of the files that git does not know

# Whatever lies in the checkout, git has so long for each of three answers, and no more is kept of the last.
MOST_S = 20.0
MOST_CHARACTERS = 1 << 20


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
    try:
        top, commit, index = _git("rev-parse", "--show-toplevel", "HEAD", "--git-path", "index").splitlines()
        if not os.path.samefile(top, REPOSITORY):
            return CodeState(None, "")
        with tempfile.TemporaryDirectory() as folder:  # new files are added to a copy of the index
            return CodeState(commit, _changes(shutil.copy2(REPOSITORY / index, folder)))
    except (OSError, ValueError, subprocess.SubprocessError):
        return CodeState(None, "")


def _changes(index: str) -> str:
    """What differs from the commit, new files included; of much the beginning and a digest of all."""
    # Whatever the user's own settings of git are, and on whatever node.
    plain = ("--binary", "--no-color", "--no-ext-diff", "--no-textconv")
    unknown = ""
    try:
        _git("add", "--intent-to-add", "--", *NEW_CODE, index=index)
    except subprocess.CalledProcessError:
        pass  # as of a checkout without YAML
    except subprocess.TimeoutExpired:
        unknown = f"new files: not told by git within {MOST_S:g} s\n"
    try:
        changes = _git("diff", *plain, "HEAD", "--", *CODE, index=index)
    except subprocess.TimeoutExpired:
        changes = f"changes: not told by git within {MOST_S:g} s\n"
    if len(changes) > MOST_CHARACTERS:
        digest = hashlib.sha256(changes.encode()).hexdigest()
        cut = f"cut here: the SHA-256 of all {len(changes)} characters is {digest}\n"
        changes = f"{changes[:MOST_CHARACTERS]}\n{cut}"
    return changes + unknown


def _git(*arguments: str, index: str | None = None) -> str:
    """The output of git in the repository."""
    # Variables such as GIT_DIR say which repository: of somebody else's command.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    environment |= {"GIT_INDEX_FILE": index} if index else {}
    done = subprocess.run(
        ["git", *arguments], cwd=REPOSITORY, env=environment,
        stdin=subprocess.DEVNULL, capture_output=True, timeout=MOST_S, check=True,
    )  # fmt: skip
    return done.stdout.decode(errors="replace")
