"""Commands that a message suggests, as they are typed where it is printed."""

import os
import shlex

from bn.run.code_state import REPOSITORY


def command(program: str, *arguments: str) -> str:
    """`python <program> <arguments>`, quoted for the shell. `program`: its path in the repository."""
    return shlex.join(["python", os.path.relpath(REPOSITORY / program), *arguments])


def listing(output: str, *options: str) -> str:
    """The command that lists the runs in the folder `output`, a path relative to the repository."""
    folder = REPOSITORY / output
    folders = [] if folder == REPOSITORY / "runs" else [os.path.relpath(folder)]
    return command("scripts/runs.py", *folders, *options)
