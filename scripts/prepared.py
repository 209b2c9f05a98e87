"""What the two scripts that prepare trees of images share."""

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
    """Of a published data set."""

    classes: int
    train: int  # images
    val: int

    def __str__(self) -> str:
        return f"{self.classes} classes, {self.train} training and {self.val} validation images"


def is_complete(root: Path, counts: Counts, splits: Collection[Split] = ("train", "val")) -> bool:
    """Whether `root` is a tree of so many classes and images."""
    try:
        found = read_tree(root, counts.classes, "", tuple(splits))
    except UserError:
        return False
    return all(len(found[split]) == getattr(counts, split) for split in splits)


def verify(archive: Path, md5: str) -> None:
    """UserError if it is not the published file."""
    if not check_integrity(archive, md5):
        raise UserError(
            f"{archive}: damaged, or not the published file (MD5): remove it and download it again"
        )


@contextlib.contextmanager
def unfinished_tree(root: Path) -> Iterator[Path]:
    """A folder in `root` for what is not complete yet. It is gone afterwards, as is an empty `root`.

    UserError with one line if it is there already.
    """
    unfinished = root / ".unfinished"
    with no_empty_folders(root):
        try:
            unfinished.mkdir(parents=True)
        except FileExistsError:
            raise UserError(
                f"{unfinished}: left by a command that was killed, or one that still runs: "
                "remove it if none does"
            ) from None
        try:
            yield unfinished
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)


def write_image(content: IO[bytes], path: Path) -> None:
    """A new file with what an archive's member holds, of which little is in memory at a time.

    The caller made `path` of a name that it checked: none leads out of the tree.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        file = path.open("xb")
    except FileExistsError:
        raise UserError(f"{path.name}: twice in its archive, which is damaged: download it again") from None
    with file:
        shutil.copyfileobj(content, file, 1 << 20)


def publish(unfinished: Path, split: Split, root: Path, counts: Counts, archive: Path) -> None:
    """Give the folder of a split its place in the tree, if that is free. UserError if it is not complete."""
    if not is_complete(unfinished, counts, (split,)):
        raise UserError(
            f"{archive}: damaged, or not the published file: not {getattr(counts, split)} {split} images in "
            f"{counts.classes} classes"
        )
    os.sync()  # or a power failure could leave the name with empty files
    if not (root / split).exists():
        (unfinished / split).rename(root / split)
