"""The code as it is on the disk: the commit, and what differs from it."""

import hashlib
import subprocess
from pathlib import Path
from typing import NamedTuple

REPOSITORY = Path(__file__).resolve().parents[2]

# What scripts/reproduce.py writes is left out: collected records make the tree differ, not the code.
CODE = (".", ":!results", ":!README.md", ":!docs")
NEW_CODE = ("*.py", "*.yaml", ":!results")


class CodeState(NamedTuple):
    commit: str | None  # None: there is no git here, or no repository
    changes: str  # as git diff writes them, files of code that git does not know yet included; empty: none

    @property
    def digest(self) -> str | None:
        """What tells two sets of changes apart; None where there are none."""
        return hashlib.sha256(self.changes.encode()).hexdigest() if self.changes else None


def code_state() -> CodeState:
    commit = _git("rev-parse", "HEAD")
    if commit is None:
        return CodeState(None, "")
    changes = [_diff("HEAD", "--", *CODE)]
    new = _git("ls-files", "--others", "--exclude-standard", "-z", "--", *NEW_CODE) or ""
    # Nothing to compare with makes git exit with 1: there is a difference.
    changes += [_diff("--no-index", "/dev/null", path) for path in new.split("\0") if path]
    return CodeState(commit.strip(), "".join(text for text in changes if text))


def _diff(*arguments: str) -> str | None:
    # Whatever the user's own settings of git are, and on whatever node.
    return _git("diff", "--binary", "--no-color", "--no-ext-diff", "--no-textconv", *arguments)


def _git(*arguments: str) -> str | None:
    """The output of git in the repository, or None where there is no git or no repository."""
    try:
        done = subprocess.run(["git", *arguments], cwd=REPOSITORY, capture_output=True, check=False)
    except OSError:
        return None
    return done.stdout.decode(errors="replace") if done.returncode in (0, 1) else None
