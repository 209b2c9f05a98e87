"""The 144 crops of an image that GoogLeNet averages over (arXiv 1409.4842, section 7).

The paper's crops are "similar to" GoogLeNet's; (D) ours are exactly these. The image is resized so that its
shorter side is 256, 288, 320 and 352. Each size gives the left, centre and right square (top, centre and
bottom of a portrait). Each square gives its four corners and its centre at 224, and the square itself resized
to 224. Each of these is also mirrored: 4 * 3 * 6 * 2 = 144. Other sizes are in proportion: shorter sides of
8, 9, 10 and 11 eighths of `resize`, and `crop` instead of 224.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from bn.data.images import Images
from bn.data.photometric import normalize

CROPS = 144


class Box(NamedTuple):
    """A square of a resized image, in its pixels; one larger than the crop is resized to it."""

    top: int
    left: int
    side: int


def scales(height: int, width: int, resize: int) -> list[tuple[int, int]]:
    """The four sizes (height, width) to which an image is resized; its longer side is rounded down."""
    shorter, longer = sorted((height, width))
    sizes = []
    for eighths in (8, 9, 10, 11):
        side = round(resize * eighths / 8)
        sizes.append((side, side * longer // shorter))
    return sizes if height <= width else [(long, short) for short, long in sizes]


def boxes(height: int, width: int, crop: int) -> list[Box]:
    """The 18 squares of a resized image: of each third the corners, the centre and all of it.

    An image that is itself a square has the same six three times. ValueError if `crop` does not fit.
    """
    side = min(height, width)
    if crop > side:
        raise ValueError(f"a crop of {crop} does not fit into {height}x{width}")
    found = []
    for third in (0.0, 0.5, 1.0):
        top, left = round(third * (height - side)), round(third * (width - side))
        rest = side - crop
        corners = [(0, 0), (0, rest), (rest, 0), (rest, rest), (round(rest / 2), round(rest / 2))]
        found += [Box(top + down, left + right, crop) for down, right in corners]
        found.append(Box(top, left, side))
    return found


def multicrop(picture: Tensor, resize: int, crop: int) -> Tensor:
    """(3,H,W) uint8 -> (144,3,crop,crop) float32, 0 to 255, on the same device; the last 72 mirror the first.

    Antialiased bilinear, as in validation; an image is resized once for each scale, not for each crop.
    """
    _, height, width = picture.shape
    pixels = picture[None].float()
    crops = []
    for size in scales(height, width, resize):
        resized = _resized(pixels, size)
        for top, left, side in boxes(size[0], size[1], crop):
            square = resized[..., top : top + side, left : left + side]
            crops.append(square if side == crop else _resized(square, (crop, crop)))
    unmirrored = torch.cat(crops)
    return torch.cat([unmirrored, unmirrored.flip(-1)])


def crops_of(images: Images, crops: int, device: torch.device) -> Iterator[Tensor]:
    """1 or 144 crops of each validation image, as the network sees them, (k, 3, S, S) at a time."""
    if crops == 1:
        yield from (batch.images for batch in images.validation())
        return
    for i in range(len(images.pictures)):
        picture = images.pictures[i]
        if device.type == "cuda":
            picture = picture.pin_memory()  # the copy then does not wait for the network
        picture = picture.to(device, non_blocking=True)
        yield normalize(multicrop(picture, images.data.resize, images.data.crop))


def _resized(pixels: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(pixels, size, mode="bilinear", antialias=True)
