"""What both loaders have in common: crops on the device, before photometric distortion."""

from collections.abc import Iterable, Iterator
from typing import Literal, NamedTuple, Protocol

import numpy as np
from torch import Tensor

from bn.data.jpeg import BrokenImage

Split = Literal["train", "val"]
VALIDATION_BATCH = 250


class Cropped(NamedTuple):
    images: Tensor  # (N, 3, S, S) float32 in 0..255, on the device
    labels: Tensor  # (N,) int64, on the device
    colour: np.ndarray  # (N, photometric.DRAWS) uniform in [0, 1); of central crops (N, 0)
    broken: tuple[BrokenImage, ...] = ()  # images that were found broken on the way


class Source(Protocol):
    def training(self, n: int) -> Cropped:
        """The mini-batch of step `n`, from 0: random crops, mirrored with probability 1/2. A broken image
        is replaced."""
        ...

    def central(self, split: Split, chunks: Iterable[np.ndarray]) -> Iterator[Cropped]:
        """For each chunk of indices the central crops of its images, less the broken ones."""
        ...

    def close(self) -> None: ...
