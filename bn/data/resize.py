"""A box of one decoded image, resized to a square of bytes by an antialiased bilinear filter.

The same filter as `crops.crop_and_resize`, for images that come one by one on the CPU.
"""

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from bn.data.jpeg import Picture


def random_crop(picture: Picture, box: np.ndarray, size: int) -> Tensor:
    """(3, size, size) uint8: `box` (top, left, height, width), in whole pixels, cut out and resized.

    BrokenImage if it cannot be decoded. torch's resizing of bytes is vectorized: it takes half the time of
    PIL's.
    """
    top, left, height, width = box.tolist()
    cut = torch.from_numpy(picture.pixels()[top : top + height, left : left + width])
    cut = cut[None].permute(0, 3, 1, 2)  # in this order torch sees that the channels are last in memory
    return F.interpolate(cut, (size, size), mode="bilinear", antialias=True)[0]


def central_crop(picture: Picture, box: np.ndarray, size: int) -> Tensor:
    """(3, size, size) uint8: the `box` of `central_box`, resized; the filter reads the pixels beyond it too.

    The box may begin and end within pixels, which PIL can do. BrokenImage if it cannot be decoded.
    """
    top, left, height, width = box.tolist()
    image = Image.fromarray(picture.pixels())
    image = image.resize((size, size), Image.Resampling.BILINEAR, (left, top, left + width, top + height))
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)
