"""Large data sets: workers decode, crop and mirror one mini-batch at a time; the device does the rest.

Mini-batch n is a pure function of (seed, n), whichever worker makes it: no random number comes from a running
stream.
"""

import signal
import sys
import warnings
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from multiprocessing.util import Finalize
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from bn.config import ImageData
from bn.data.crops import central_box, random_boxes
from bn.data.draws import draws
from bn.data.order import ImageOrder
from bn.data.pictures import Pictures
from bn.data.resize import central_crop, random_crop
from bn.data.source import VALIDATION_BATCH, Cropped
from bn.data.tree import Split
from bn.data.workers import worker_count
from bn.errors import OutOfMemory, UserError
from bn.run.signals import STOP, end_with_parent

PREFETCH = 2  # mini-batches ready, or in the making, for each worker
# A fork starts in milliseconds and shares the listing of a million files; where forks are not safe (macOS),
# a new interpreter imports torch first, seconds for each worker. The workers never touch CUDA.
START = "fork" if sys.platform == "linux" else "spawn"


class Prepared(NamedTuple):
    """What a worker hands over: a mini-batch in few tensors, as bytes."""

    images: Tensor  # (N, 3, S, S) uint8
    labels: Tensor  # (N,) int64
    colour: Tensor  # (N, photometric.DRAWS) float64


def training_step(pictures: Pictures, data: ImageData, order: ImageOrder, seed: int, n: int) -> Prepared:
    """The mini-batch of step `n`: random crops, mirrored with probability 1/2."""
    epoch, examples = order(n)
    opened = [pictures.open(example) for example in examples.tolist()]
    heights, widths = np.array([picture.size for picture in opened]).T
    drawn = draws(seed, epoch, examples)
    boxes = random_boxes(drawn.box, heights, widths, data.area, data.aspect)
    images = torch.empty(len(examples), 3, data.crop, data.crop, dtype=torch.uint8)
    for image, picture, box, mirror in zip(images, opened, boxes, drawn.mirror, strict=True):
        crop = random_crop(picture, box, data.crop)
        image.copy_(crop.flip(2) if mirror < 0.5 else crop)
    return Prepared(images, torch.from_numpy(pictures.labels[examples]), torch.from_numpy(drawn.colour))


def central_crops(pictures: Pictures, data: ImageData, examples: np.ndarray) -> Prepared:
    images = torch.empty(len(examples), 3, data.crop, data.crop, dtype=torch.uint8)
    for image, example in zip(images, examples.tolist(), strict=True):
        picture = pictures.open(example)
        box = central_box(*picture.size, data.resize, data.crop)
        image.copy_(central_crop(picture, box, data.crop))
    return Prepared(images, torch.from_numpy(pictures.labels[examples]), torch.empty(len(examples), 0))


class InWorkers(Dataset["Prepared | str"]):
    """What `prepare` gives, or the line of a UserError, which a worker could only raise as a traceback."""

    def __init__(self, prepare: Callable[[Any], Prepared]) -> None:
        self._prepare = prepare

    def __getitem__(self, index: Any) -> Prepared | str:
        try:
            return self._prepare(index)
        except UserError as error:
            return str(error)


class Stream:
    """A source of images of any size, with the interface of `Resident`.

    Mini-batches from `first` up to `end` are prefetched in order. Without an order, not for training.
    """

    def __init__(
        self,
        data: ImageData,
        pictures: Mapping[Split, Pictures],
        order: ImageOrder | None,
        seed: int,
        device: torch.device,
        first: int,
        end: int,
    ) -> None:
        largest = max(VALIDATION_BATCH, order.share if order else 0) * 3 * data.crop**2
        # Twice: beside those of training, which wait meanwhile, there are those of validation.
        self._workers = worker_count(data.workers, 2 * PREFETCH * largest)
        self._device = device
        self._steps = order and partial(training_step, pictures["train"], data, order, seed)
        self._central = {split: partial(central_crops, found, data) for split, found in pictures.items()}
        self._end = end
        self._next: int | None = None
        if first < end:
            self._start(first)  # now, so that the workers begin while the network is being built

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
        self._ahead = iter(())  # its workers end with the iterator

    def _in_order(self, prepare: Callable[[Any], Prepared], indices: Iterable) -> Iterator[Prepared | str]:
        loader = DataLoader(
            InWorkers(prepare),
            batch_size=None,  # an index is a whole mini-batch already
            sampler=indices,
            num_workers=self._workers,
            prefetch_factor=PREFETCH if self._workers else None,
            multiprocessing_context=START if self._workers else None,
            worker_init_fn=_start_worker,
            pin_memory=self._device.type == "cuda",
            generator=torch.Generator(),  # or it would draw from torch's own, whose state a run resumes
        )
        before = signal.getsignal(signal.SIGCHLD)
        with warnings.catch_warnings():
            # Python from 3.12 on, of forks beside threads: those of torch, which workers do without.
            warnings.filterwarnings("ignore", ".*multi-threaded", DeprecationWarning)
            iterator = iter(loader)
        if signal.getsignal(signal.SIGCHLD) is not before:
            # Torch's would raise wherever the program is, as in the middle of saving; `_alive` will tell.
            signal.signal(signal.SIGCHLD, before or signal.SIG_DFL)
        # At the program's end multiprocessing sends SIGTERM, to which workers are deaf, and waits for ever.
        Finalize(iterator, _end_workers, (weakref.ref(iterator),), exitpriority=100)  # before its queues
        return _alive(iterator)

    def _on_device(self, prepared: Prepared | str) -> Cropped:
        if isinstance(prepared, str):
            raise UserError(prepared)
        images = prepared.images.to(self._device, non_blocking=True)
        labels = prepared.labels.to(self._device, non_blocking=True)
        return Cropped(images, labels, prepared.colour.numpy())


def _alive(prepared: Iterator[Prepared | str]) -> Iterator[Prepared | str]:
    """What the workers prepare. OutOfMemory with one line if one was killed, seconds after it is missed."""
    try:
        yield from prepared
    except RuntimeError as error:
        if not str(error).startswith("DataLoader worker"):
            raise
        raise OutOfMemory(
            "a decoding process was killed (not enough memory, or too small a /dev/shm?); "
            "fewer data.workers need less"
        ) from error


def _end_workers(reference: weakref.ref) -> None:
    shut_down = getattr(reference(), "_shutdown_workers", None)  # None if it is gone, or has no workers
    if shut_down is not None:
        shut_down()


def _start_worker(_worker: int) -> None:
    """Signals are for the parent: it takes its last mini-batches, saves, and then ends its workers."""
    for number in STOP:
        signal.signal(number, signal.SIG_IGN)
    end_with_parent()
