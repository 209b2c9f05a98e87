"""Listing of an ImageFolder tree, {train,val}/<class>/*, without reading any image."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from bn.errors import UserError

Split = Literal["train", "val"]

# As in torchvision's ImageFolder, other files are ignored.
EXTENSIONS = (".jpeg", ".jpg", ".png", ".bmp", ".ppm", ".pgm", ".webp")


def class_folders(
    root: Path, classes: int, prepare: str, splits: Sequence[Split] = ("train", "val")
) -> list[str]:
    """The sorted names of the class folders, which must be the same in all `splits` of `root`.

    UserError if a folder is missing, the number of class folders is not `classes`, or the splits differ.
    `prepare` tells the user how to create the tree.
    """
    try:
        found = {split: folders(root / split) for split in splits}
    except OSError as error:
        raise UserError(f"{error.filename}: {error.strerror}: {prepare}") from error
    first, last = splits[0], splits[-1]
    names = found[first]
    if len(names) != classes:
        raise UserError(
            f"data.classes={classes}: {root / first} has {len(names)} class folders; accepted: {len(names)}"
        )
    for name in sorted({*names} ^ {*found[last]}):
        has, lacks = (first, last) if name in names else (last, first)
        raise UserError(
            f"{root / has / name}: no such class folder in {root / lacks}; both need the same classes"
        )
    return names


def folders(folder: Path) -> list[str]:
    """The sorted names of the folders in `folder`. OSError if it is not a folder."""
    with os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))


def images(folder: Path, prepare: str) -> list[str]:
    """The sorted file names of a class's images. UserError if there are none."""
    found = sorted(
        file for file in os.listdir(folder) if file.lower().endswith(EXTENSIONS) and not file.startswith(".")
    )
    if not found:
        raise UserError(f"{folder}: a class folder without images: {prepare}")
    return found
