"""Small data sets: kept on the device as bytes, cropped and mirrored there in batches."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain

import numpy as np
import torch
from torch import Tensor

from bn.config import ImageData
from bn.data.crops import central_box, crop_and_resize, random_boxes
from bn.data.decoded import Decoded
from bn.data.draws import draws, replacements
from bn.data.order import ImageOrder
from bn.data.source import Cropped, Split


class Resident:
    """A `Source` of images, all `data.resize` x `data.resize`. Without an order, not for training."""

    def __init__(
        self,
        data: ImageData,
        decoded: Mapping[Split, Decoded],
        order: ImageOrder | None,
        seed: int,
        device: torch.device,
    ) -> None:
        self._data = data
        self._order = order
        self._seed = seed
        self._device = device
        self._broken = {split: found.broken.keys() for split, found in decoded.items()}
        self._images = {s: torch.from_numpy(found.images).to(device) for s, found in decoded.items()}
        self._labels = {s: torch.from_numpy(found.labels).to(device) for s, found in decoded.items()}

    def training(self, n: int) -> Cropped:
        assert self._order is not None
        epoch, examples = self._order(n)
        if self._broken["train"]:
            examples = np.array([self._readable(epoch, example) for example in examples.tolist()])
        drawn = draws(self._seed, epoch, examples)
        sides = np.full(len(examples), self._data.resize)
        boxes = random_boxes(drawn.box, sides, sides, self._data.area, self._data.aspect)
        images, labels = self._pick("train", examples)
        return Cropped(
            crop_and_resize(images, boxes, drawn.mirror < 0.5, self._data.crop), labels, drawn.colour
        )

    def central(self, split: Split, chunks: Iterable[np.ndarray]) -> Iterator[Cropped]:
        side, crop = self._data.resize, self._data.crop
        start = int(central_box(side, side, side, crop)[0])  # whole: the images have their size already
        within = slice(start, start + crop)
        for chunk in chunks:
            examples = np.array([i for i in chunk.tolist() if i not in self._broken[split]], np.int64)
            images, labels = self._pick(split, examples)
            yield Cropped(images[:, :, within, within].float(), labels, np.empty((len(examples), 0)))

    def close(self) -> None:
        self._images.clear()  # and with them the lock of the file that they may be a map of

    def _readable(self, epoch: int, example: int) -> int:
        candidates = chain((example,), replacements(self._seed, epoch, example, len(self._labels["train"])))
        return next(candidate for candidate in candidates if candidate not in self._broken["train"])

    def _pick(self, split: Split, examples: np.ndarray) -> tuple[Tensor, Tensor]:
        index = torch.from_numpy(examples).to(self._device, non_blocking=True)
        return self._images[split][index], self._labels[split][index]
