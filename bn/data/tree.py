"""The images of an ImageFolder tree, {train,val}/<class>/*, listed and checked before any is read."""

import contextlib
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from bn.errors import UserError

Split = Literal["train", "val"]

# Files with other names are no images, and are passed over, as torchvision's ImageFolder does.
EXTENSIONS = (".jpeg", ".jpg", ".png", ".bmp", ".ppm", ".pgm", ".webp")


class Listing(Sequence[str]):
    """The paths of a split: classes in the order of their names, and within a class the files in theirs.

    `labels` (N,) int64 count the classes. `files` (N,) are the paths below `folder`, as bytes: a million
    paths are one array and not a million objects, so that processes forked from this one go on sharing it.
    """

    def __init__(self, folder: Path, files: np.ndarray, labels: np.ndarray) -> None:
        self.folder = folder
        self.files = files
        self.labels = labels

    def subset(self, chosen: np.ndarray) -> "Listing":
        """Those of these indices, in their order."""
        return Listing(self.folder, self.files[chosen], self.labels[chosen])

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> str:  # type: ignore[override]  # no slices
        return os.path.join(self.folder, os.fsdecode(bytes(self.files[index])))


def read_tree(
    root: Path, classes: int, prepare: str, splits: Sequence[Split] = ("train", "val")
) -> dict[Split, Listing]:
    """List the folders `splits` of `root`. `prepare` says how to make the tree, where there is none.

    UserError with one line: no such folder; class folders that are not `classes` in number, or not the same
    in both splits; a class folder without images.
    """
    found: dict[Split, Listing] = {}
    for split, names in _class_folders(root, classes, prepare, splits).items():
        images = [_images(root / split / name, prepare) for name in names]
        files = [os.fsencode(f"{name}/{file}") for name, of in zip(names, images, strict=True) for file in of]
        labels = np.repeat(np.arange(len(names)), [len(of) for of in images])
        found[split] = Listing(root / split, np.array(files), labels)
    return found


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
    try:
        found: dict[Split, tuple[str, ...]] = {split: class_folders(root / split) for split in splits}
    except OSError as error:
        raise UserError(f"{error.filename}: {error.strerror}: {prepare}") from error
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


def class_folders(folder: Path) -> tuple[str, ...]:
    """Their names, in order."""
    with os.scandir(folder) as entries:
        return tuple(sorted(e.name for e in entries if e.is_dir() and not e.name.startswith(".")))


def _images(folder: Path, prepare: str) -> list[str]:
    """The names of a class's images."""
    found = sorted(
        file for file in os.listdir(folder) if file.lower().endswith(EXTENSIONS) and not file.startswith(".")
    )
    if not found:
        raise UserError(f"{folder}: a class folder without images: {prepare}")
    return found


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
        tree = read_tree(root, counts.classes, "")
    except UserError:
        return False
    return (len(tree["train"]), len(tree["val"])) == (counts.train, counts.val)


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
