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

    It is decoded at the least scale at which the box still has `size` pixels each way. BrokenImage if it
    cannot be decoded.
    """
    top, left, height, width = box.tolist()
    pixels, reduction = picture.pixels(shrink=min(height, width) / size)
    if reduction == 1:
        # torch's resizing of bytes is vectorized: it takes half the time of PIL's
        cut = torch.from_numpy(pixels[top : top + height, left : left + width])
        cut = cut[None].permute(0, 3, 1, 2)  # in this order torch sees that the channels are last in memory
        return F.interpolate(cut, (size, size), mode="bilinear", antialias=True)[0]
    # In the reduced image the box begins and ends within pixels, which PIL can do.
    first, end = np.array([top, left]) / reduction, np.array([top + height, left + width]) / reduction
    (y, x), (y_end, x_end) = np.floor(first).astype(int), np.ceil(end).astype(int)
    within = (first[1] - x, first[0] - y, end[1] - x, end[0] - y)
    return _resized(pixels[y:y_end, x:x_end], within, size)


def central_crop(picture: Picture, box: np.ndarray, size: int) -> Tensor:
    """(3, size, size) uint8: the `box` of `central_box`, resized; the filter reads the pixels beyond it too.

    Decoded at full scale, so that accuracies are those of the exact image. BrokenImage if it cannot be.
    """
    top, left, height, width = box.tolist()
    pixels, _ = picture.pixels()
    return _resized(pixels, (left, top, left + width, top + height), size)


def _resized(pixels: np.ndarray, box: tuple[float, float, float, float], size: int) -> Tensor:
    """`box` is left, top, right, bottom; the filter at its border reads what is beyond it."""
    image = Image.fromarray(pixels).resize((size, size), Image.Resampling.BILINEAR, box)
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)
