"""The 144 crops per image that GoogLeNet averages over (arXiv 1409.4842, section 7).

The paper's crops are "similar to" GoogLeNet's; (D) ours are exactly GoogLeNet's. The image is resized so that
its shorter side is 256, 288, 320 and 352. At each scale, take the left, center and right square (top, center
and bottom of a portrait). From each square, take the four corners and the center at 224x224, and the square
itself resized to 224x224. All are also mirrored: 4 * 3 * 6 * 2 = 144. Other sizes are in proportion: shorter
sides of 8, 9, 10 and 11 eighths of `resize`, and `crop` instead of 224.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from bn.data.images import ImageLoader
from bn.data.photometric import normalize

CROPS = 144


class Box(NamedTuple):
    """A square in pixels of the resized image. If it is larger than the crop, it is resized."""

    top: int
    left: int
    side: int


def scales(height: int, width: int, resize: int) -> list[tuple[int, int]]:
    """The four sizes (height, width) of a resized image; the longer side is rounded down."""
    shorter, longer = sorted((height, width))
    sizes = []
    for eighths in (8, 9, 10, 11):
        side = round(resize * eighths / 8)
        sizes.append((side, side * longer // shorter))
    return sizes if height <= width else [(long, short) for short, long in sizes]


def boxes(height: int, width: int, crop: int) -> list[Box]:
    """The 18 boxes of a resized image: the corners, the center and the whole of each of its three squares.

    A square image has the same six boxes three times. ValueError if `crop` does not fit.
    """
    side = min(height, width)
    if crop > side:
        raise ValueError(f"a crop of {crop} does not fit into {height}x{width}")
    found = []
    for position in (0.0, 0.5, 1.0):
        top, left = round(position * (height - side)), round(position * (width - side))
        rest = side - crop
        corners = [(0, 0), (0, rest), (rest, 0), (rest, rest), (round(rest / 2), round(rest / 2))]
        found += [Box(top + down, left + right, crop) for down, right in corners]
        found.append(Box(top, left, side))
    return found


def multicrop(image: Tensor, resize: int, crop: int) -> Tensor:
    """All crops of an image (3, H, W) uint8: (144, 3, crop, crop) float32 in 0..255, on the same device.

    The last 72 mirror the first. The filter is antialiased bilinear, as in validation. The image is resized
    once per scale, not once per crop.
    """
    _, height, width = image.shape
    pixels = image[None].float()
    crops = []
    for size in scales(height, width, resize):
        resized = _resized(pixels, size)
        for top, left, side in boxes(size[0], size[1], crop):
            square = resized[..., top : top + side, left : left + side]
            crops.append(square if side == crop else _resized(square, (crop, crop)))
    unmirrored = torch.cat(crops)
    return torch.cat([unmirrored, unmirrored.flip(-1)])


def crops_of(loader: ImageLoader, crops: int, device: torch.device) -> Iterator[Tensor]:
    """Yield 1 or 144 normalized crops of each validation image, in blocks (k, 3, S, S)."""
    if crops == 1:
        yield from (batch.images for batch in loader.validation())
        return
    for i in range(len(loader.dataset)):
        image = loader.dataset[i]
        if device.type == "cuda":
            image = image.pin_memory()  # so that the copy is asynchronous
        image = image.to(device, non_blocking=True)
        yield normalize(multicrop(image, loader.data.resize, loader.data.crop))


def _resized(pixels: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(pixels, size, mode="bilinear", antialias=True)
