"""The raw images of a split: RGB bytes and labels, from arrays or from files."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from bn.data.jpeg import Decoded, Picture, open_picture
from bn.data.tree import Listing


class Pictures(Protocol):
    @property
    def labels(self) -> np.ndarray:
        """(N,) int64."""
        ...

    @property
    def names(self) -> Sequence[str]:
        """What a message calls an image: its path, where it has one."""
        ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Tensor:
        """(3, H, W) uint8 RGB. bn.data.jpeg.BrokenImage if it cannot be read."""
        ...

    def open(self, index: int) -> Picture:
        """The same, not yet decoded. BrokenImage too."""
        ...


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
    """Images in files, each of a size of its own."""

    def __init__(self, listing: Listing) -> None:
        self.names = listing
        self.labels = listing.labels

    def subset(self, chosen: np.ndarray) -> "FolderPictures":
        """Those of these indices, in their order."""
        return FolderPictures(self.names.subset(chosen))

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> Tensor:
        pixels, _ = self.open(index).pixels()
        return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))

    def open(self, index: int) -> Picture:
        return open_picture(self.names[index])
