"""Which part of an image is cropped, and how the crop becomes a square of the network's size.

A box is (top, left, height, width) in pixels of the image, from the upper left corner.
"""

import math

import numpy as np
import torch
from torch import Tensor

TRIES = 10  # to find a box that fits in the image, as torchvision's RandomResizedCrop
BOX_DRAWS = 2 * TRIES + 2  # area and aspect ratio of each try, then the place


def random_boxes(
    u: np.ndarray, heights: np.ndarray, widths: np.ndarray, area: float, aspect: float
) -> np.ndarray:
    """(n, 4) int64 boxes of training crops, from `u` (n, BOX_DRAWS) uniform in [0, 1).

    Images are `heights` x `widths` (n,) pixels. A box takes a share of its image uniform in [area, 1], at a
    ratio of width to height log-uniform in [1 / aspect, aspect], at a uniform place (**D** GoogLeNet's: area
    0.08, aspect 4/3). As in torchvision's RandomResizedCrop: sides are rounded, what does not fit is drawn
    again, and after 10 tries it is the largest central box whose ratio is within the range.
    """
    heights, widths = np.asarray(heights, np.int64), np.asarray(widths, np.int64)
    share = area + (1 - area) * u[:, :TRIES]
    ratio = aspect ** (2 * u[:, TRIES : 2 * TRIES] - 1)
    target = share * (heights * widths)[:, None]
    height, width = np.rint(np.sqrt(target / ratio)), np.rint(np.sqrt(target * ratio))
    fits = (height > 0) & (width > 0) & (height <= heights[:, None]) & (width <= widths[:, None])
    first, found = np.arange(len(u)), fits.argmax(1)
    central = ~np.any(fits, axis=1)
    tall = np.where(central, np.rint(np.minimum(heights, widths * aspect)), height[first, found])
    wide = np.where(central, np.rint(np.minimum(widths, heights * aspect)), width[first, found])
    top = np.where(central, (heights - tall) // 2, np.floor(u[:, -2] * (heights - tall + 1)))
    left = np.where(central, (widths - wide) // 2, np.floor(u[:, -1] * (widths - wide + 1)))
    return np.stack([top, left, tall, wide], 1).astype(np.int64)


def central_box(height: int, width: int, resize: int, crop: int) -> np.ndarray:
    """(4,) float64: the box that is the central `crop` x `crop` once the shorter side is `resize` pixels.

    Sides and place round as torchvision's Resize and CenterCrop do, to whole pixels of the resized image, so
    a box has fractions of pixels. ValueError if `crop` is larger than `resize`.
    """
    if crop > resize:
        raise ValueError(f"a crop of {crop} is larger than the shorter side, {resize}")
    sides = np.array([height, width])
    resized = resize * sides // sides.min()
    start = np.rint((resized - crop) / 2)
    scale = sides / resized
    return np.concatenate([start * scale, crop * scale])


def crop_and_resize(
    images: Tensor, boxes: Tensor | np.ndarray, mirrored: Tensor | np.ndarray, size: int
) -> Tensor:
    """(N, 3, size, size) float32 in 0..255: each image's box, resized by an antialiased bilinear filter.

    `images` is (N, 3, H, W) uint8, on any device; `boxes` (N, 4), whole pixels, and `mirrored` (N,) bool may
    be on the CPU, and are copied to the device without waiting for it. The result is torchvision's
    `resized_crop(antialias=True)` of the float image, and of mirrored ones the flip, within rounding. The
    products are as exact as torch is set to make float32 matrix products, so not under autocast.
    """
    device = images.device
    count, channels, rows, columns = images.shape
    box = torch.as_tensor(boxes, dtype=torch.float64).to(device, non_blocking=True)
    flip = torch.as_tensor(mirrored).to(device, non_blocking=True)
    forward = torch.arange(size, device=device).expand(count, size)
    down = _weights(box[:, 0], box[:, 2], forward, rows)
    across = _weights(box[:, 1], box[:, 3], torch.where(flip[:, None], forward.flip(1), forward), columns)
    narrow = images.float().view(count, channels * rows, columns) @ across.mT
    return down[:, None] @ narrow.view(count, channels, rows, size)


def _weights(start: Tensor, length: Tensor, place: Tensor, pixels: int) -> Tensor:
    """(N, size, pixels) float32: what each pixel of a line adds to the resized pixel at each place (N, size).

    A triangle around the centre of the resized pixel, as wide as the coarser of the two grids, taken at the
    centres of the pixels; the weights of a resized pixel sum to 1. A matrix is full of zeros: only `taps` of
    its columns, a number that holds for any box in the image, are computed in each row.
    """
    size = place.shape[1]
    taps = min(pixels, 2 * math.ceil(max(1, pixels / size)) + 1)
    scale = (length / size)[:, None]
    support = scale.clamp(min=1)
    centre = start[:, None] + scale * (place + 0.5) - 0.5
    first = (centre - support).ceil().clamp(0, pixels - taps)
    pixel = first[..., None] + torch.arange(taps, device=start.device)
    weights = (1 - (pixel - centre[..., None]).abs() / support[..., None]).clamp(min=0)
    weights *= (pixel >= start[:, None, None]) & (pixel < (start + length)[:, None, None])
    weights /= weights.sum(2, keepdim=True)
    matrix = torch.zeros(*place.shape, pixels, dtype=torch.float32, device=start.device)
    return matrix.scatter_(2, pixel.long(), weights.float())
