"""The images of an ImageFolder tree, {train,val}/<class>/*, listed and checked before any is read."""

import contextlib
import copy
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bn.errors import UserError

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


class Tree(NamedTuple):
    train: Listing
    validation: Listing


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


def read_tree(root: Path, classes: int, prepare: str) -> Tree:
    """List `root`/train and `root`/val. `prepare` says how to make the tree, where there is none.

    UserError with one line: no such folder; a class folder without images; training classes that are not
    `classes` in number; validation classes that are not the training classes.
    """
    train, validation = _both(root, classes, prepare)
    return Tree(_listing(root / "train", train, prepare), _listing(root / "val", validation, prepare))


def check_tree(root: Path, classes: int, prepare: str, enough: int) -> int:
    """How many training images there are, as far as `enough`. UserError as of `read_tree`, of the folders."""
    train, _ = _both(root, classes, prepare)
    found = 0
    for name in train:
        found += len(_images(root / "train" / name, prepare))
        if found >= enough:
            break
    return found


def _both(root: Path, classes: int, prepare: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The class folders of training and of validation."""
    train = _class_folders(root / "train", prepare)
    _check_number(root / "train", train, classes)
    validation = _class_folders(root / "val", prepare)
    for name in sorted({*train} ^ {*validation}):
        here, there = ("train", "val") if name in train else ("val", "train")
        raise UserError(
            f"{root / here / name}: no such class folder in {root / there}; both need the same classes"
        )
    return train, validation


def read_validation(root: Path, classes: int, prepare: str) -> Listing:
    """List `root`/val alone: `root`/train need not be there. UserError as of `read_tree`."""
    folders = _class_folders(root / "val", prepare)
    _check_number(root / "val", folders, classes)
    return _listing(root / "val", folders, prepare)


def _check_number(folder: Path, found: tuple[str, ...], classes: int) -> None:
    if len(found) != classes:
        raise UserError(
            f"data.classes={classes}: {folder} has {len(found)} class folders; accepted: {len(found)}"
        )


def _class_folders(folder: Path, prepare: str) -> tuple[str, ...]:
    try:
        with os.scandir(folder) as entries:
            return tuple(sorted(e.name for e in entries if e.is_dir() and not e.name.startswith(".")))
    except OSError as error:
        raise UserError(f"{folder}: {error.strerror}: {prepare}") from error


def _listing(folder: Path, classes: tuple[str, ...], prepare: str) -> Listing:
    return Listing(folder, classes, [_images(folder / name, prepare) for name in classes])


def _images(folder: Path, prepare: str) -> list[str]:
    """The names of a class's images."""
    found = sorted(
        file for file in os.listdir(folder) if file.lower().endswith(EXTENSIONS) and not file.startswith(".")
    )
    if not found:
        raise UserError(f"{folder}: a class folder without images: {prepare}")
    return found
