"""What both loaders, `Resident` and `Stream`, give: crops on the device, before photometric distortion."""

from typing import NamedTuple

import numpy as np
from torch import Tensor

VALIDATION_BATCH = 250


class Cropped(NamedTuple):
    images: Tensor  # (N, 3, S, S) in 0..255, float32 or uint8, on the device
    labels: Tensor  # (N,) int64, on the device
    colour: np.ndarray  # (N, photometric.DRAWS) uniform in [0, 1); of central crops (N, 0)
