"""Shared functions of the scripts that prepare image data sets."""

import contextlib
import os
import shutil
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import IO, NamedTuple

from torchvision.datasets.utils import check_integrity

from bn.data.datasets import read_tree
from bn.data.tree import Split
from bn.errors import UserError
from bn.files import no_empty_folders


class Counts(NamedTuple):
    """The counts of a published data set."""

    classes: int
    train: int  # images
    val: int

    def __str__(self) -> str:
        return f"{self.classes} classes, {self.train} training and {self.val} validation images"


def is_complete(root: Path, counts: Counts, splits: Collection[Split] = ("train", "val")) -> bool:
    """Whether the tree `root` has these numbers of classes and images."""
    try:
        found = read_tree(root, counts.classes, "", tuple(splits))
    except UserError:
        return False
    return all(len(found[split]) == getattr(counts, split) for split in splits)


def verify(archive: Path, md5: str) -> None:
    """UserError unless the archive has this MD5."""
    if not check_integrity(archive, md5):
        raise UserError(
            f"{archive}: damaged, or not the published file (MD5): remove it and download it again"
        )


@contextlib.contextmanager
def unfinished_tree(root: Path) -> Iterator[Path]:
    """A folder in `root` for incomplete splits, removed afterwards, as is `root` if empty.

    UserError if it already exists.
    """
    unfinished = root / ".unfinished"
    with no_empty_folders(root):
        try:
            unfinished.mkdir(parents=True)
        except FileExistsError:
            raise UserError(
                f"{unfinished}: left by a killed or running command: remove it if none is running"
            ) from None
        try:
            yield unfinished
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)


def write_image(content: IO[bytes], path: Path) -> None:
    """Copy a member of an archive to a new file, in small blocks. The caller has checked `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        file = path.open("xb")
    except FileExistsError:
        raise UserError(f"{path.name}: twice in its archive, which is damaged: download it again") from None
    with file:
        shutil.copyfileobj(content, file, 1 << 20)


def publish(unfinished: Path, split: Split, root: Path, counts: Counts, archive: Path) -> None:
    """Move a complete split to the tree, unless it is already there. UserError if it is incomplete."""
    if not is_complete(unfinished, counts, (split,)):
        raise UserError(
            f"{archive}: damaged, or not the published file: not {getattr(counts, split)} {split} images in "
            f"{counts.classes} classes"
        )
    os.sync()  # otherwise a power failure could leave empty files
    if not (root / split).exists():
        (unfinished / split).rename(root / split)
