"""The folders of an ImageFolder tree, {train,val}/<class>/*, checked before any image is read."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from bn.errors import UserError

Split = Literal["train", "val"]

# Files with other names are no images, and are passed over, as torchvision's ImageFolder does.
EXTENSIONS = (".jpeg", ".jpg", ".png", ".bmp", ".ppm", ".pgm", ".webp")


def class_folders(
    root: Path, classes: int, prepare: str, splits: Sequence[Split] = ("train", "val")
) -> list[str]:
    """The names of the class folders, in order, the same in all `splits` of `root`.

    UserError with one line: no such folder; class folders that are not `classes` in number, or not the same
    in both splits. `prepare` says how to make the tree, where there is none.
    """
    try:
        found = {split: folders(root / split) for split in splits}
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
    return found[one]


def folders(folder: Path) -> list[str]:
    """The names of the folders in it, in order. OSError where it is none."""
    with os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))


def images(folder: Path, prepare: str) -> list[str]:
    """The names of a class's images, in order. UserError if there are none."""
    found = sorted(
        file for file in os.listdir(folder) if file.lower().endswith(EXTENSIONS) and not file.startswith(".")
    )
    if not found:
        raise UserError(f"{folder}: a class folder without images: {prepare}")
    return found
