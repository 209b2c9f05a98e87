"""The random draws of a training example: crop, mirroring and photometric distortion."""

from typing import NamedTuple

import numpy as np

from bn.data import photometric
from bn.data.crops import BOX_DRAWS
from bn.data.keyed import uniform
from bn.data.seeds import derive_seed


class Draws(NamedTuple):
    """Uniform in [0, 1), a row for each example."""

    box: np.ndarray  # (n, BOX_DRAWS)
    mirror: np.ndarray  # (n,)
    colour: np.ndarray  # (n, photometric.DRAWS)


def draws(seed: int, epoch: int, examples: np.ndarray) -> Draws:
    u = uniform(derive_seed(seed, "distortions"), epoch, examples, BOX_DRAWS + 1 + photometric.DRAWS)
    return Draws(u[:, :BOX_DRAWS], u[:, BOX_DRAWS], u[:, BOX_DRAWS + 1 :])
