"""Images as mini-batches on the device: for training, for validation, and for the probe.

Training images get a random crop, mirroring and photometric distortion, all keyed by (seed, epoch, example);
the others get a central crop. Small data sets stay on the device (bn/data/resident.py), large ones are
decoded when they are needed (bn/data/stream.py). Both give the same crops.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from bn.config import ImageData
from bn.data.cifar10 import cifar10_pictures
from bn.data.order import ImageOrder
from bn.data.photometric import changes, network_input, normalize
from bn.data.pictures import ArrayPictures, Pictures, read_tree
from bn.data.resident import Resident
from bn.data.seeds import generator
from bn.data.smoke import TRAIN, smoke_pictures
from bn.data.source import VALIDATION_BATCH
from bn.data.stream import Stream
from bn.data.there import check_validation, how_to_prepare, in_arrays
from bn.data.tree import Split
from bn.run.directory import REPOSITORY

RESIDENT_LIMIT = 4 << 30  # bytes that feed=auto keeps on the device

Splits = Mapping[Split, Pictures]
Finish = Callable[[Tensor, Tensor | None, Tensor | None], Tensor]


class Batch(NamedTuple):
    images: Tensor  # (N, 3, S, S) float32, normalized, on the device
    labels: Tensor  # (N,) int64, on the device


class Plan(NamedTuple):
    """Which mini-batches will be asked for, and by whom."""

    steps: int  # how many in all; 0: there is nothing to train, and training images need not be there
    batch: int  # examples in a mini-batch
    seed: int
    first: int = 0  # the step that is asked for first, from 0; the others follow in order
    rank: int = 0  # of the process that asks, which gets its share of each
    ranks: int = 1

    @property
    def share(self) -> int:
        """The examples of a mini-batch that this process gets."""
        return self.batch // self.ranks


EVALUATION = Plan(steps=0, batch=1, seed=0)


def open_images(
    data: ImageData, plan: Plan, device: torch.device, pictures: Splits | None = None
) -> "Images":
    """The mini-batches of `data` that `plan` asks for, on `device`.

    `pictures` are those of `find_pictures`, where they are listed already. UserError with one line if they
    are not there, or are not what `data` says.
    """
    pictures = pictures or find_pictures(data, training=plan.steps > 0)
    order = None
    if plan.steps:
        order = ImageOrder(
            len(pictures["train"]),
            plan.batch,
            plan.seed,
            data.shuffle,
            data.shard_size,
            plan.rank,
            plan.ranks,
        )
    if data.feed == "stream" or (data.feed == "auto" and not _fits(pictures, data)):
        source = Stream(data, pictures, order, plan.seed, device, plan.first, plan.steps)
    else:
        source = Resident(data, pictures, order, plan.seed, device)
    return Images(data, pictures, source, plan)


def _fits(pictures: Splits, data: ImageData) -> bool:
    """Whether feed=auto keeps them on the device: few, and, by a look at one, of the size they have there."""
    size = sum(map(len, pictures.values())) * 3 * data.resize**2
    return size <= RESIDENT_LIMIT and pictures["val"].open(0).size == (data.resize, data.resize)


def find_pictures(data: ImageData, *, training: bool = True) -> Splits:
    """The images of both splits; without `training`, those for validation.

    Where `data.validation` holds training images out, these are the split "val", and the validation images
    are not looked at. UserError with one line if the images are not there, or are not what `data` says.
    """
    if not data.validation:
        return _find(data, training)
    found = _find(data, training=True)["train"]
    check_validation(data, len(found))
    # The same ones for all seeds, so that settings are compared on the same images.
    order = torch.randperm(len(found), generator=generator(0, "held out")).numpy()
    held_out, kept = np.sort(order[: data.validation]), np.sort(order[data.validation :])
    return {"train": found.subset(kept), "val": found.subset(held_out)}


def _find(data: ImageData, training: bool) -> Splits:
    root = REPOSITORY / data.root
    if in_arrays(data):
        found = _smoke() if data.name == "smoke" else cifar10_pictures(root)
        return found if training else {"val": found["val"]}
    splits: tuple[Split, ...] = ("train", "val") if training else ("val",)
    return read_tree(root, data.classes, how_to_prepare(data), splits)


def _smoke() -> dict[Split, ArrayPictures]:
    images, labels = smoke_pictures()
    return {
        "train": ArrayPictures(images[:TRAIN], labels[:TRAIN], "smoke/train"),
        "val": ArrayPictures(images[TRAIN:], labels[TRAIN:], "smoke/val"),
    }


class Images:
    """What `open_images` gives. `pictures` are the validation images, as they are.

    bn.data.jpeg.BrokenImage, a UserError of one line, for an image that cannot be read.
    """

    def __init__(self, data: ImageData, pictures: Splits, source: Resident | Stream, plan: Plan) -> None:
        self.data = data
        self.pictures = pictures["val"]
        self._source = source
        self._share = plan.share  # of this process, of a mini-batch
        self.training_count = len(pictures.get("train", ()))
        self._validation = np.array_split(np.arange(len(pictures["val"])), plan.ranks)[plan.rank]

    def feed(self, n: int, finish: Finish = network_input) -> Batch:
        """The mini-batch of step `n`, from 0; `finish` is `network_input`, compiled or not."""
        cropped = self._source.training(n)
        colors = changes(cropped.colour, self.data.distortion, cropped.images.device)
        return Batch(finish(cropped.images, *colors), cropped.labels)

    def validation(self) -> Iterator[Batch]:
        """Central crops of this process's share of the validation images, once and in order."""
        return self._central("val", self._validation, VALIDATION_BATCH)

    def training_examples(self, count: int) -> Iterator[Batch]:
        """Central crops of `count` training examples in whole mini-batches (rounded up, as far as there are).

        A mini-batch has as many as this process's share of one. They are the first by a permutation that is
        the same for all seeds, and are not distorted.
        """
        share = self._share
        batches = min(-(-count // share), self.training_count // share)
        permutation = torch.randperm(self.training_count, generator=generator(0, "probe")).numpy()
        return self._central("train", permutation[: batches * share], share)

    def _central(self, split: Split, examples: np.ndarray, size: int) -> Iterator[Batch]:
        chunks = (examples[start : start + size] for start in range(0, len(examples), size))
        for cropped in self._source.central(split, chunks):
            yield Batch(normalize(cropped.images), cropped.labels)

    def close(self) -> None:
        self._source.close()
