"""The undistorted images of a split: RGB bytes and labels, held in arrays or read from files.

Both kinds of data set have `labels`, (N,) int64, and `names`, which identify images in messages. `dataset[i]`
is an image as (3, H, W) uint8 RGB; `dataset.open(i)` is the same image, not yet decoded. Both raise
bn.data.image_files.BrokenImage if the image cannot be read.
"""

import functools
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from bn.data import tree
from bn.data.image_files import DecodedImage, EncodedImage, open_image
from bn.data.tree import Split


class ArrayDataset:
    """Images in memory: (N, 3, H, W) uint8."""

    def __init__(self, images: np.ndarray, labels: np.ndarray, name: str) -> None:
        self.images = images
        self.labels = labels
        self.names = [f"{name} {i}" for i in range(len(labels))]

    def subset(self, indices: np.ndarray) -> "ArrayDataset":
        """The images at these indices, in this order, under their names."""
        subset = ArrayDataset(self.images[indices], self.labels[indices], "")
        subset.names = [self.names[i] for i in indices]
        return subset

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> Tensor:
        return torch.from_numpy(self.images[index])

    def open(self, index: int) -> DecodedImage:
        return DecodedImage(np.ascontiguousarray(self.images[index].transpose(1, 2, 0)))


class FolderDataset:
    """Images in files, which may differ in size.

    `files` (N,) are paths relative to `folder`, as bytes. A million paths are one array instead of a million
    objects, so forked processes keep sharing its memory.
    """

    def __init__(self, folder: Path, files: Sequence[str] | np.ndarray, labels: np.ndarray) -> None:
        self.folder = folder
        self.files = files if isinstance(files, np.ndarray) else np.array([os.fsencode(f) for f in files])
        self.labels = labels

    @functools.cached_property
    def names(self) -> list[str]:
        return [self._path(i) for i in range(len(self))]

    def subset(self, indices: np.ndarray) -> "FolderDataset":
        """The images at these indices, in this order."""
        return FolderDataset(self.folder, self.files[indices], self.labels[indices])

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(self.open(index).pixels().transpose(2, 0, 1)))

    def open(self, index: int) -> EncodedImage:
        return open_image(self._path(index))

    def _path(self, index: int) -> str:
        return os.path.join(self.folder, os.fsdecode(bytes(self.files[index])))


ImageDataset = ArrayDataset | FolderDataset
Datasets = Mapping[Split, ImageDataset]


def read_tree(
    root: Path, classes: int, prepare: str, splits: Sequence[Split] = ("train", "val")
) -> dict[Split, FolderDataset]:
    """List the images of `splits` in an ImageFolder tree, sorted by class name, then by file name.

    UserError as in `tree.class_folders`, or for a class folder without images.
    """
    names = tree.class_folders(root, classes, prepare, splits)
    found: dict[Split, FolderDataset] = {}
    for split in splits:
        images = [tree.images(root / split / name, prepare) for name in names]
        files = [f"{name}/{file}" for name, of_class in zip(names, images, strict=True) for file in of_class]
        labels = np.repeat(np.arange(classes), [len(of_class) for of_class in images])
        found[split] = FolderDataset(root / split, files, labels)
    return found
