"""The raw images of a split: RGB bytes and labels, from arrays or from files.

Of either kind, `labels` is (N,) int64, `names` says what a message calls each image, `pictures[i]` is
(3, H, W) uint8 RGB, and `pictures.open(i)` is the same image, not yet decoded. The last two raise
bn.data.jpeg.BrokenImage for an image that cannot be read.
"""

import functools
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from bn.data import tree
from bn.data.jpeg import Decoded, Picture, open_picture
from bn.data.tree import Split


class ArrayPictures:
    """Images that are in memory: (N, 3, H, W) uint8."""

    def __init__(self, images: np.ndarray, labels: np.ndarray, name: str) -> None:
        self.images = images
        self.labels = labels
        self.names = [f"{name} {i}" for i in range(len(labels))]

    def subset(self, chosen: np.ndarray) -> "ArrayPictures":
        """Those of these indices, in their order, under their names."""
        found = ArrayPictures(self.images[chosen], self.labels[chosen], "")
        found.names = [self.names[i] for i in chosen]
        return found

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> Tensor:
        return torch.from_numpy(self.images[index])

    def open(self, index: int) -> Picture:
        return Decoded(np.ascontiguousarray(self.images[index].transpose(1, 2, 0)))


class FolderPictures:
    """Images in files, each of a size of its own.

    `files` (N,) are their paths below `folder`, as bytes: a million paths are one array and not a million
    objects, so that processes forked from this one go on sharing it.
    """

    def __init__(self, folder: Path, files: Sequence[str] | np.ndarray, labels: np.ndarray) -> None:
        self.folder = folder
        self.files = files if isinstance(files, np.ndarray) else np.array([os.fsencode(f) for f in files])
        self.labels = labels

    @functools.cached_property
    def names(self) -> list[str]:
        return [self._path(i) for i in range(len(self))]

    def subset(self, chosen: np.ndarray) -> "FolderPictures":
        """Those of these indices, in their order."""
        return FolderPictures(self.folder, self.files[chosen], self.labels[chosen])

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(self.open(index).pixels().transpose(2, 0, 1)))

    def open(self, index: int) -> Picture:
        return open_picture(self._path(index))

    def _path(self, index: int) -> str:
        return os.path.join(self.folder, os.fsdecode(bytes(self.files[index])))


Pictures = ArrayPictures | FolderPictures


def read_tree(
    root: Path, classes: int, prepare: str, splits: Sequence[Split] = ("train", "val")
) -> dict[Split, FolderPictures]:
    """The images of the folders `splits` of `root`: by the names of their classes, then by their own.

    UserError as of `tree.class_folders`, or for a class folder without images.
    """
    names = tree.class_folders(root, classes, prepare, splits)
    found: dict[Split, FolderPictures] = {}
    for split in splits:
        images = [tree.images(root / split / name, prepare) for name in names]
        files = [f"{name}/{file}" for name, of_class in zip(names, images, strict=True) for file in of_class]
        labels = np.repeat(np.arange(classes), [len(of_class) for of_class in images])
        found[split] = FolderPictures(root / split, files, labels)
    return found
