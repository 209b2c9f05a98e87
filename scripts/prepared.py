"""What the two scripts that prepare trees of images share."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from bn.data.pictures import read_tree
from bn.errors import UserError


class Counts(NamedTuple):
    """Of a published data set."""

    classes: int
    train: int  # images
    val: int

    def __str__(self) -> str:
        return f"{self.classes} classes, {self.train} training and {self.val} validation images"


def is_complete(root: Path, counts: Counts) -> bool:
    """Whether `root` is a tree of so many classes and images."""
    try:
        found = read_tree(root, counts.classes, "")
    except UserError:
        return False
    return (len(found["train"]), len(found["val"])) == (counts.train, counts.val)


@contextlib.contextmanager
def unfinished_tree(root: Path) -> Iterator[Path]:
    """A folder in `root` for what is not complete yet; it is gone afterwards.

    UserError with one line if it is there already.
    """
    unfinished = root / ".unfinished"
    try:
        unfinished.mkdir(parents=True)
    except FileExistsError:
        raise UserError(
            f"{unfinished}: left by a command that was killed, or one that still runs: remove it if none does"
        ) from None
    try:
        yield unfinished
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def publish(split: Path, root: Path) -> None:
    """Give a folder, which is complete, its place in the tree, if that is empty."""
    os.sync()  # or a power failure could leave the name with empty files
    if not (root / split.name).exists():
        split.rename(root / split.name)
