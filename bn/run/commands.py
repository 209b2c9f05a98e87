"""Commands suggested in messages, with paths relative to the current directory."""

import os
import shlex

from bn.files import REPOSITORY


def command(program: str, *arguments: str) -> str:
    """Return `python <program> <arguments>`, quoted for the shell; `program` is a path in the repository."""
    return shlex.join(["python", os.path.relpath(REPOSITORY / program), *arguments])


def listing(output: str, *options: str) -> str:
    """Return the command that lists the runs in `output`, a folder relative to the repository."""
    folder = REPOSITORY / output
    folders = [] if folder == REPOSITORY / "runs" else [os.path.relpath(folder)]
    return command("scripts/runs.py", *folders, *options)
