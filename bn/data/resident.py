"""The loader of small data sets: decoded once, kept on the device as bytes, and cropped there in batches."""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from bn.config import ImageData
from bn.data.crops import Cropped, central_box, crop_and_resize, random_boxes
from bn.data.datasets import ArrayDataset, Datasets, ImageDataset
from bn.data.draws import draws
from bn.data.order import ImageOrder
from bn.data.tree import Split
from bn.errors import UserError


class Resident:
    """Crops of images that are all `data.resize` x `data.resize`. Training requires an `order`.

    UserError if an image cannot be read or has another size.
    """

    def __init__(
        self, data: ImageData, datasets: Datasets, order: ImageOrder | None, device: torch.device
    ) -> None:
        self._data = data
        self._order = order
        self._device = device
        self._images = {s: torch.from_numpy(decoded(d, data.resize)).to(device) for s, d in datasets.items()}
        self._labels = {s: torch.from_numpy(d.labels).to(device) for s, d in datasets.items()}

    def training(self, n: int) -> Cropped:
        """The mini-batch of step `n`, counted from 0: random crops, mirrored with probability 1/2."""
        assert self._order is not None
        epoch, examples = self._order(n)
        drawn = draws(self._order.seed, epoch, examples)
        sides = np.full(len(examples), self._data.resize)
        boxes = random_boxes(drawn.box, sides, sides, self._data.area, self._data.aspect)
        images, labels = self._pick("train", examples)
        return Cropped(
            crop_and_resize(images, boxes, drawn.mirror < 0.5, self._data.crop), labels, drawn.color
        )

    def central(self, split: Split, chunks: Iterable[np.ndarray]) -> Iterator[Cropped]:
        """Yield the central crops of the images in each chunk of indices."""
        side, crop = self._data.resize, self._data.crop
        start = int(central_box(side, side, side, crop)[0])  # an integer, since the images are not resized
        within = slice(start, start + crop)
        for examples in chunks:
            images, labels = self._pick(split, examples)
            yield Cropped(images[:, :, within, within].float(), labels, np.empty((len(examples), 0)))

    def close(self) -> None:
        self._images.clear()

    def _pick(self, split: Split, examples: np.ndarray) -> tuple[Tensor, Tensor]:
        index = torch.from_numpy(examples).to(self._device, non_blocking=True)
        return self._images[split][index], self._labels[split][index]


def decoded(dataset: ImageDataset, side: int) -> np.ndarray:
    """Decode all images into an array (N, 3, side, side) uint8. UserError if one has another size."""
    if isinstance(dataset, ArrayDataset):
        _check_size(dataset.images.shape[2:], side, dataset.names[0])
        return dataset.images
    images = np.empty((len(dataset), 3, side, side), np.uint8)
    for i in tqdm(range(len(dataset)), desc="decoding", unit=" images", disable=None, dynamic_ncols=True):
        image = dataset[i]
        _check_size(image.shape[1:], side, dataset.names[i])
        images[i] = image.numpy()
    return images


def _check_size(size: Sequence[int], side: int, name: str) -> None:
    height, width = size
    if (height, width) != (side, side):
        raise UserError(
            f"{name}: {width}x{height} pixels, data.resize={side}: "
            "images of other sizes need data.feed=stream"
        )
