"""The random draws of a training example: crop, mirroring, photometric distortion, and stand-ins."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from bn.data import photometric
from bn.data.crops import BOX_DRAWS
from bn.data.keyed import uniform
from bn.errors import UserError
from bn.seeds import derive_seed


class Draws(NamedTuple):
    """Uniform in [0, 1), a row for each example."""

    box: np.ndarray  # (n, BOX_DRAWS)
    mirror: np.ndarray  # (n,)
    colour: np.ndarray  # (n, photometric.DRAWS)


def draws(seed: int, epoch: int, examples: np.ndarray) -> Draws:
    u = uniform(derive_seed(seed, "distortions"), epoch, examples, BOX_DRAWS + 1 + photometric.DRAWS)
    return Draws(u[:, :BOX_DRAWS], u[:, BOX_DRAWS], u[:, BOX_DRAWS + 1 :])


def replacements(seed: int, epoch: int, example: int, count: int) -> Iterator[int]:
    """Which of `count` examples stand in for one that cannot be read: the first of them that can be.

    UserError after 100.
    """
    for attempt in range(100):
        u = uniform(derive_seed(seed, "replacement", attempt), epoch, np.array([example]), 1)
        yield int(u[0, 0] * count)
    raise UserError(f"image {example} cannot be read, nor any of 100 images drawn in its place")
