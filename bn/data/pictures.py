"""The raw images of a split: RGB bytes and labels, from arrays or from files.

Of either kind, `labels` is (N,) int64, `names` says what a message calls each image, `pictures[i]` is
(3, H, W) uint8 RGB, and `pictures.open(i)` is the same image, not yet decoded. The last two raise
bn.data.jpeg.BrokenImage for an image that cannot be read.
"""

import numpy as np
import torch
from torch import Tensor

from bn.data.jpeg import Decoded, Picture, open_picture
from bn.data.tree import Listing


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


Pictures = ArrayPictures | FolderPictures
