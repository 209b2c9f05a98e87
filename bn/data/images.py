"""Mini-batches of images on the device: for training, for validation, and for the probe.

Training images get a random crop, mirroring and photometric distortion, all determined by (seed, epoch,
example); other images get a central crop. Small data sets stay on the device (bn/data/resident.py); large
ones are decoded as they are needed (bn/data/stream.py). Both produce the same crops.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from bn.config import ImageData
from bn.data.availability import check_validation, how_to_prepare, in_memory
from bn.data.cifar10 import cifar10_datasets
from bn.data.crops import VALIDATION_BATCH
from bn.data.datasets import ArrayDataset, Datasets, read_tree
from bn.data.image_inputs import apply_inputs
from bn.data.order import ImageOrder
from bn.data.photometric import distortion_factors, network_input, normalize
from bn.data.resident import Resident
from bn.data.seeds import generator
from bn.data.smoke import TRAIN, smoke_images
from bn.data.stream import Stream
from bn.data.tree import Split
from bn.files import REPOSITORY

RESIDENT_LIMIT = 4 << 30  # bytes that feed=auto keeps on the device

Finish = Callable[[Tensor, Tensor | None, Tensor | None], Tensor]


class Batch(NamedTuple):
    images: Tensor  # (N, 3, S, S) float32, normalized, on the device
    labels: Tensor  # (N,) int64, on the device


class Plan(NamedTuple):
    """The training mini-batches that a process will request."""

    steps: int  # of the whole training; 0: no training, and training images need not exist
    batch: int  # examples in a mini-batch
    seed: int
    first: int = 0  # the first step to be requested, counted from 0; the others follow in order
    rank: int = 0  # of this process, which gets its share of each mini-batch
    ranks: int = 1


EVALUATION = Plan(steps=0, batch=1, seed=0)


def open_loader(
    data: ImageData, plan: Plan, device: torch.device, datasets: Datasets | None = None
) -> "ImageLoader":
    """Open a loader of the mini-batches in `plan`.

    `datasets` is the result of `find_datasets`, if it is already known. UserError if the images are missing
    or do not match `data`.
    """
    datasets = datasets or find_datasets(data, training=plan.steps > 0)
    order = None
    if plan.steps:
        size = len(datasets["train"])
        order = ImageOrder(size, plan.batch, plan.seed, data.shuffle, data.shard_size, plan.rank, plan.ranks)
    if data.feed == "stream" or (data.feed == "auto" and not _fits(datasets, data)):
        source = Stream(data, datasets, order, device, plan.first, plan.steps)
    else:
        source = Resident(data, datasets, order, device)
    return ImageLoader(data, datasets, source, plan)


def _fits(datasets: Datasets, data: ImageData) -> bool:
    """Whether feed=auto keeps the images on the device: there are few, and the first has the right size."""
    size = sum(map(len, datasets.values())) * 3 * data.resize**2
    return size <= RESIDENT_LIMIT and datasets["val"].open(0).size == (data.resize, data.resize)


def find_datasets(data: ImageData, *, training: bool = True) -> Datasets:
    """List the images of both splits, or without `training` those of "val".

    If `data.validation` holds out training images, they form "val", and the real validation images are not
    read. UserError if the images are missing or do not match `data`.
    """
    if not data.validation:
        return _find(data, training)
    train = _find(data, training=True)["train"]
    check_validation(data, len(train))
    # The same for all seeds, so that settings are compared on the same images.
    order = torch.randperm(len(train), generator=generator(0, "held out")).numpy()
    held_out, kept = np.sort(order[: data.validation]), np.sort(order[data.validation :])
    return {"train": train.subset(kept), "val": train.subset(held_out)}


def _find(data: ImageData, training: bool) -> Datasets:
    root = REPOSITORY / data.root
    splits: tuple[Split, ...] = ("train", "val") if training else ("val",)
    found: Datasets
    if in_memory(data):
        found = _smoke_datasets() if data.name == "smoke" else cifar10_datasets(root)
    else:
        found = read_tree(root, data.classes, how_to_prepare(data), splits)
    return {split: apply_inputs(found[split], split, data) for split in splits}


def _smoke_datasets() -> Datasets:
    images, labels = smoke_images()
    return {
        "train": ArrayDataset(images[:TRAIN], labels[:TRAIN], "smoke/train"),
        "val": ArrayDataset(images[TRAIN:], labels[TRAIN:], "smoke/val"),
    }


class ImageLoader:
    """Loads mini-batches onto the device. `dataset` has the undistorted validation images.

    Raises bn.data.image_files.BrokenImage, a UserError, for an image that cannot be read.
    """

    def __init__(self, data: ImageData, datasets: Datasets, source: Resident | Stream, plan: Plan) -> None:
        self.data = data
        self.dataset = datasets["val"]
        self.training_count = len(datasets.get("train", ()))
        self._source = source
        self._share = plan.batch // plan.ranks
        self._validation = np.array_split(np.arange(len(self.dataset)), plan.ranks)[plan.rank]

    def batch(self, n: int, finish: Finish = network_input) -> Batch:
        """The training mini-batch of step `n`, from 0; `finish` is `network_input`, compiled or not."""
        cropped = self._source.training(n)
        factors = distortion_factors(cropped.color, self.data.distortion, cropped.images.device)
        return Batch(finish(cropped.images, *factors), cropped.labels)

    def validation(self) -> Iterator[Batch]:
        """Central crops of this process's share of the validation images, each once and in order."""
        return self._central("val", self._validation, VALIDATION_BATCH)

    def training_examples(self, count: int) -> Iterator[Batch]:
        """Undistorted central crops of `count` training examples, rounded up to whole mini-batches.

        A mini-batch has the size of this process's share. The examples are the first ones of a permutation
        that is the same for all seeds; there are fewer if the training set is smaller.
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
