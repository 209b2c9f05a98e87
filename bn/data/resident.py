"""Small data sets: decoded once, kept on the device as bytes, cropped and mirrored there in batches."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from bn.config import ImageData
from bn.data.crops import central_box, crop_and_resize, random_boxes
from bn.data.draws import draws
from bn.data.order import ImageOrder
from bn.data.pictures import ArrayPictures, Pictures
from bn.data.source import Cropped
from bn.data.tree import Split
from bn.errors import UserError


class Resident:
    """A source of images that are all `data.resize` x `data.resize`. Without an order, not for training.

    UserError for an image that cannot be read, or is of another size.
    """

    def __init__(
        self,
        data: ImageData,
        pictures: Mapping[Split, Pictures],
        order: ImageOrder | None,
        seed: int,
        device: torch.device,
    ) -> None:
        self._data = data
        self._order = order
        self._seed = seed
        self._device = device
        self._images = {s: torch.from_numpy(decoded(p, data.resize)).to(device) for s, p in pictures.items()}
        self._labels = {s: torch.from_numpy(p.labels).to(device) for s, p in pictures.items()}

    def training(self, n: int) -> Cropped:
        """The mini-batch of step `n`, from 0: random crops, mirrored with probability 1/2."""
        assert self._order is not None
        epoch, examples = self._order(n)
        drawn = draws(self._seed, epoch, examples)
        sides = np.full(len(examples), self._data.resize)
        boxes = random_boxes(drawn.box, sides, sides, self._data.area, self._data.aspect)
        images, labels = self._pick("train", examples)
        return Cropped(
            crop_and_resize(images, boxes, drawn.mirror < 0.5, self._data.crop), labels, drawn.colour
        )

    def central(self, split: Split, chunks: Iterable[np.ndarray]) -> Iterator[Cropped]:
        """For each chunk of indices the central crops of its images."""
        side, crop = self._data.resize, self._data.crop
        start = int(central_box(side, side, side, crop)[0])  # whole: the images have their size already
        within = slice(start, start + crop)
        for examples in chunks:
            images, labels = self._pick(split, examples)
            yield Cropped(images[:, :, within, within].float(), labels, np.empty((len(examples), 0)))

    def close(self) -> None:
        self._images.clear()

    def _pick(self, split: Split, examples: np.ndarray) -> tuple[Tensor, Tensor]:
        index = torch.from_numpy(examples).to(self._device, non_blocking=True)
        return self._images[split][index], self._labels[split][index]


def decoded(pictures: Pictures, side: int) -> np.ndarray:
    """(N, 3, side, side) uint8."""
    if isinstance(pictures, ArrayPictures):
        _check_size(pictures.images.shape[2:], side, pictures.names[0])
        return pictures.images
    images = np.empty((len(pictures), 3, side, side), np.uint8)
    for i in tqdm(range(len(pictures)), desc="decoding", unit=" images", disable=None, dynamic_ncols=True):
        image = pictures[i]
        _check_size(image.shape[1:], side, pictures.names[i])
        images[i] = image.numpy()
    return images


def _check_size(size: Sequence[int], side: int, name: str) -> None:
    height, width = size
    if (height, width) != (side, side):
        raise UserError(
            f"{name}: {width}x{height} pixels, data.resize={side}: "
            "images of other sizes need data.feed=stream"
        )
