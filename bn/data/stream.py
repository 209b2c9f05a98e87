"""The loader of large data sets: worker processes decode, crop and mirror; the device does the rest.

Each worker prepares whole mini-batches. Mini-batch n is a pure function of (seed, n), so it does not depend
on the worker that prepares it.
"""

import signal
import sys
import warnings
import weakref
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from multiprocessing.util import Finalize
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from bn.config import ImageData
from bn.data import crops
from bn.data.crops import VALIDATION_BATCH, Cropped
from bn.data.datasets import Datasets, ImageDataset
from bn.data.draws import draws
from bn.data.order import ImageOrder
from bn.data.tree import Split
from bn.data.workers import worker_count
from bn.errors import OutOfMemory, UserError
from bn.signals import STOP, end_with_parent

PREFETCH = 2  # mini-batches per worker that are ready or in preparation
# A fork starts in milliseconds and shares the list of a million files. Where forks are unsafe (macOS), each
# worker is a new interpreter, which takes seconds to import torch. Workers never use CUDA.
START = "fork" if sys.platform == "linux" else "spawn"


class Prepared(NamedTuple):
    """A mini-batch that a worker has prepared."""

    images: Tensor  # (N, 3, S, S) uint8
    labels: Tensor  # (N,) int64
    color: Tensor  # (N, photometric.DRAWS) float64


def training_step(dataset: ImageDataset, data: ImageData, order: ImageOrder, n: int) -> Prepared:
    """Prepare the mini-batch of step `n`: random crops, mirrored with probability 1/2."""
    epoch, examples = order(n)
    opened = [dataset.open(example) for example in examples.tolist()]
    heights, widths = np.array([image.size for image in opened]).T
    drawn = draws(order.seed, epoch, examples)
    boxes = crops.random_boxes(drawn.box, heights, widths, data.area, data.aspect)
    images = torch.empty(len(examples), 3, data.crop, data.crop, dtype=torch.uint8)
    for target, image, box, mirror in zip(images, opened, boxes, drawn.mirror, strict=True):
        crop = crops.random_crop(image, box, data.crop)
        target.copy_(crop.flip(2) if mirror < 0.5 else crop)
    return Prepared(images, torch.from_numpy(dataset.labels[examples]), torch.from_numpy(drawn.color))


def central_crops(dataset: ImageDataset, data: ImageData, examples: np.ndarray) -> Prepared:
    images = torch.empty(len(examples), 3, data.crop, data.crop, dtype=torch.uint8)
    for target, example in zip(images, examples.tolist(), strict=True):
        image = dataset.open(example)
        box = crops.central_box(*image.size, data.resize, data.crop)
        target.copy_(crops.central_crop(image, box, data.crop))
    return Prepared(images, torch.from_numpy(dataset.labels[examples]), torch.empty(len(examples), 0))


class PreparedBatches(Dataset["Prepared | str"]):
    """Mini-batches by index. A UserError is returned as a string, since a worker would raise a traceback."""

    def __init__(self, prepare: Callable[[Any], Prepared]) -> None:
        self._prepare = prepare

    def __getitem__(self, index: Any) -> Prepared | str:
        try:
            return self._prepare(index)
        except UserError as error:
            return str(error)


class Stream:
    """Crops of images of any size, with the interface of `Resident`. Training requires an `order`.

    The mini-batches of steps `first` to `end` - 1 are prefetched in order.
    """

    def __init__(
        self, data: ImageData, datasets: Datasets, order: ImageOrder | None, device: torch.device,
        first: int, end: int,
    ) -> None:  # fmt: skip
        largest = max(VALIDATION_BATCH, order.share if order else 0) * 3 * data.crop**2
        # Twice, because training mini-batches stay prefetched during validation.
        self._workers = worker_count(data.workers, 2 * PREFETCH * largest)
        self._device = device
        self._steps = order and partial(training_step, datasets["train"], data, order)
        self._central = {split: partial(central_crops, found, data) for split, found in datasets.items()}
        self._end = end
        self._next: int | None = None
        if first < end:
            self._start(first)  # early, so that workers run while the network is being built

    def _start(self, n: int) -> None:
        assert self._steps is not None
        self._next = n
        self._ahead = self._in_order(self._steps, range(n, self._end))

    def training(self, n: int) -> Cropped:
        assert self._steps is not None
        if n >= self._end:
            return self._on_device(self._steps(n))
        if n != self._next:
            self._start(n)
        self._next = n + 1
        return self._on_device(next(self._ahead))

    def central(self, split: Split, chunks: Iterable[np.ndarray]) -> Iterator[Cropped]:
        return map(self._on_device, self._in_order(self._central[split], chunks))

    def close(self) -> None:
        self._ahead = iter(())  # the workers end with the iterator

    def _in_order(self, prepare: Callable[[Any], Prepared], indices: Iterable) -> Iterator[Prepared | str]:
        loader = DataLoader(
            PreparedBatches(prepare),
            batch_size=None,  # each index is a whole mini-batch
            sampler=indices,
            num_workers=self._workers,
            prefetch_factor=PREFETCH if self._workers else None,
            multiprocessing_context=START if self._workers else None,
            worker_init_fn=_start_worker,
            pin_memory=self._device.type == "cuda",
            generator=torch.Generator(),  # instead of torch's global one, whose state a run resumes
        )
        before = signal.getsignal(signal.SIGCHLD)
        with warnings.catch_warnings():
            # Python 3.12 warns of forks in a process with threads; workers do not use torch's threads.
            warnings.filterwarnings("ignore", ".*multi-threaded", DeprecationWarning)
            iterator = iter(loader)
        if signal.getsignal(signal.SIGCHLD) is not before:
            # Torch's handler would raise anywhere, even during saving; `_checked` reports a dead worker.
            signal.signal(signal.SIGCHLD, before or signal.SIG_DFL)
        # At exit multiprocessing sends SIGTERM, which the workers ignore, and would wait for them forever.
        Finalize(iterator, _end_workers, (weakref.ref(iterator),), exitpriority=100)  # before the queues
        return _checked(iterator)

    def _on_device(self, prepared: Prepared | str) -> Cropped:
        if isinstance(prepared, str):
            raise UserError(prepared)
        images = prepared.images.to(self._device, non_blocking=True)
        labels = prepared.labels.to(self._device, non_blocking=True)
        return Cropped(images, labels, prepared.color.numpy())


def _checked(prepared: Iterator[Prepared | str]) -> Iterator[Prepared | str]:
    """Yield what the workers prepare. Raises OutOfMemory within seconds if a worker was killed."""
    try:
        yield from prepared
    except RuntimeError as error:
        if not str(error).startswith("DataLoader worker"):
            raise
        raise OutOfMemory(
            "a worker process was killed (out of memory, or /dev/shm too small?); reduce data.workers"
        ) from error


def _end_workers(reference: weakref.ref) -> None:
    shut_down = getattr(reference(), "_shutdown_workers", None)  # None if it was deleted or has no workers
    if shut_down is not None:
        shut_down()


def _start_worker(_worker: int) -> None:
    """Ignore signals: the parent handles them, finishes its step, saves, and then ends its workers."""
    for number in STOP:
        signal.signal(number, signal.SIG_IGN)
    end_with_parent()
