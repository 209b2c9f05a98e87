"""The images of an ImageFolder tree, {train,val}/<class>/*, listed and checked before any is read."""

import contextlib
import copy
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from bn.errors import UserError

Split = Literal["train", "val"]

# Files with other names are no images, and are passed over, as torchvision's ImageFolder does.
EXTENSIONS = (".jpeg", ".jpg", ".png", ".bmp", ".ppm", ".pgm", ".webp")


class Listing(Sequence[str]):
    """The paths of a split: classes in the order of their names, and within a class the files in theirs.

    `labels` (N,) int64 is the index in `classes`. A million paths are one array of bytes and not a million
    objects, so that processes forked from this one go on sharing it.
    """

    def __init__(self, folder: Path, classes: tuple[str, ...], files: Sequence[Sequence[str]]) -> None:
        self.folder = folder
        self.classes = classes
        self.labels = np.repeat(np.arange(len(classes)), [len(of_class) for of_class in files])
        self._files = np.array([os.fsencode(file) for of_class in files for file in of_class])

    def subset(self, chosen: np.ndarray) -> "Listing":
        """Those of these indices, in their order."""
        listing = copy.copy(self)
        listing.labels, listing._files = self.labels[chosen], self._files[chosen]
        return listing

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> str:  # type: ignore[override]  # no slices
        name = os.fsdecode(bytes(self._files[index]))
        return os.path.join(self.folder, self.classes[self.labels[index]], name)


@contextlib.contextmanager
def no_empty_folders(path: Path) -> Iterator[None]:
    """The folders on the way to `path`, and it, that the block makes and leaves empty are removed again."""
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # the first that is not empty
            for folder in missing:
                if folder.exists():
                    folder.rmdir()


def read_tree(
    root: Path, classes: int, prepare: str, splits: Sequence[Split] = ("train", "val")
) -> dict[Split, Listing]:
    """List the folders `splits` of `root`. `prepare` says how to make the tree, where there is none.

    UserError with one line: no such folder; class folders that are not `classes` in number, or not the same
    in both splits; a class folder without images.
    """
    return {
        split: Listing(root / split, names, [_images(root / split / name, prepare) for name in names])
        for split, names in _class_folders(root, classes, prepare, splits).items()
    }


def check_tree(root: Path, classes: int, prepare: str, enough: int) -> int:
    """How many training images there are, as far as `enough`. UserError as of `read_tree`, of the folders."""
    found = 0
    for name in _class_folders(root, classes, prepare, ("train", "val"))["train"]:
        found += len(_images(root / "train" / name, prepare))
        if found >= enough:
            break
    return found


def _class_folders(
    root: Path, classes: int, prepare: str, splits: Sequence[Split]
) -> dict[Split, tuple[str, ...]]:
    """The names of each split's class folders, in order."""
    found: dict[Split, tuple[str, ...]] = {split: _folders(root / split, prepare) for split in splits}
    one, other = splits[0], splits[-1]
    if len(found[one]) != classes:
        raise UserError(
            f"data.classes={classes}: {root / one} has {len(found[one])} class folders; "
            f"accepted: {len(found[one])}"
        )
    for name in sorted({*found[one]} ^ {*found[other]}):
        here, there = (one, other) if name in found[one] else (other, one)
        raise UserError(
            f"{root / here / name}: no such class folder in {root / there}; both need the same classes"
        )
    return found


def _folders(folder: Path, prepare: str) -> tuple[str, ...]:
    try:
        with os.scandir(folder) as entries:
            return tuple(sorted(e.name for e in entries if e.is_dir() and not e.name.startswith(".")))
    except OSError as error:
        raise UserError(f"{folder}: {error.strerror}: {prepare}") from error


def _images(folder: Path, prepare: str) -> list[str]:
    """The names of a class's images."""
    found = sorted(
        file for file in os.listdir(folder) if file.lower().endswith(EXTENSIONS) and not file.startswith(".")
    )
    if not found:
        raise UserError(f"{folder}: a class folder without images: {prepare}")
    return found
