"""Crop boxes, and cropping and resizing of images to the network's input size.

A box is (top, left, height, width) in pixels, from the upper left corner of the image.
"""

import math
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from bn.data.image_files import DecodedImage, EncodedImage

VALIDATION_BATCH = 250
TRIES = 10  # to find a box that fits into the image, as in torchvision's RandomResizedCrop
BOX_DRAWS = 2 * TRIES + 2  # area and aspect ratio of each try, then the position


class Cropped(NamedTuple):
    """A mini-batch of crops on the device, before photometric distortion."""

    images: Tensor  # (N, 3, S, S) in 0..255, float32 or uint8, on the device
    labels: Tensor  # (N,) int64, on the device
    color: np.ndarray  # (N, photometric.DRAWS) uniform in [0, 1); (N, 0) for central crops


def random_boxes(
    u: np.ndarray, heights: np.ndarray, widths: np.ndarray, area: float, aspect: float
) -> np.ndarray:
    """Boxes (n, 4) int64 of training crops, from `u` (n, BOX_DRAWS) uniform in [0, 1).

    The images have `heights` x `widths` (n,) pixels. A box covers a fraction of its image that is uniform in
    [area, 1], has a ratio of width to height that is log-uniform in [1 / aspect, aspect], and lies at a
    uniform position (**D** GoogLeNet's: area 0.08, aspect 4/3). As in torchvision's RandomResizedCrop, sides
    are rounded, a box that does not fit is redrawn, and the fallback after 10 tries is the largest central
    box whose ratio is within the range.
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
    """The box (4,) float64 that is the central `crop` x `crop` once the shorter side is `resize` pixels.

    Like torchvision's Resize and CenterCrop, this rounds to whole pixels of the resized image, so the box may
    have fractional pixels. ValueError if `crop` is larger than `resize`.
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
    """Crop each image to its box and resize it by an antialiased bilinear filter, then flip the `mirrored`.

    `images` is (N, 3, H, W) uint8 on any device; the result is (N, 3, size, size) float32 in 0..255. `boxes`
    (N, 4), in whole pixels, and `mirrored` (N,) bool may be on the CPU; they are copied asynchronously. Up to
    rounding the result is torchvision's `resized_crop(antialias=True)` of the float image. The resizing is a
    matrix product in torch's current float32 precision; do not call it under autocast.
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


def _weights(start: Tensor, length: Tensor, position: Tensor, pixels: int) -> Tensor:
    """Weights (N, size, pixels) float32 of the pixels of a line for the outputs at `position` (N, size).

    The filter is a triangle around the center of the output pixel, as wide as the coarser of the two grids,
    sampled at the centers of the input pixels; the weights of an output pixel sum to 1. Most of the matrix is
    0: only `taps` columns are computed in each row, which suffice for any box in the image.
    """
    size = position.shape[1]
    taps = min(pixels, 2 * math.ceil(max(1, pixels / size)) + 1)
    scale = (length / size)[:, None]
    support = scale.clamp(min=1)
    center = start[:, None] + scale * (position + 0.5) - 0.5
    first = (center - support).ceil().clamp(0, pixels - taps)
    pixel = first[..., None] + torch.arange(taps, device=start.device)
    weights = (1 - (pixel - center[..., None]).abs() / support[..., None]).clamp(min=0)
    weights *= (pixel >= start[:, None, None]) & (pixel < (start + length)[:, None, None])
    weights /= weights.sum(2, keepdim=True)
    matrix = torch.zeros(*position.shape, pixels, dtype=torch.float32, device=start.device)
    return matrix.scatter_(2, pixel.long(), weights.float())


def random_crop(image: DecodedImage | EncodedImage, box: np.ndarray, size: int) -> Tensor:
    """Crop an image to `box`, in whole pixels, and resize the crop to (3, size, size) uint8.

    Uses torch, whose vectorized resizing of bytes takes half the time of PIL's. BrokenImage if the image
    cannot be decoded.
    """
    top, left, height, width = box.tolist()
    crop = torch.from_numpy(image.pixels()[top : top + height, left : left + width])
    crop = crop[None].permute(0, 3, 1, 2)  # in this order torch recognizes that channels are last in memory
    return F.interpolate(crop, (size, size), mode="bilinear", antialias=True)[0]


def central_crop(image: DecodedImage | EncodedImage, box: np.ndarray, size: int) -> Tensor:
    """Resize the `box` of `central_box` to (3, size, size) uint8; the filter also reads pixels around it.

    Uses PIL, which accepts boxes with fractional pixels. BrokenImage if the image cannot be decoded.
    """
    top, left, height, width = box.tolist()
    crop = Image.fromarray(image.pixels()).resize(
        (size, size), Image.Resampling.BILINEAR, (left, top, left + width, top + height)
    )
    return torch.from_numpy(np.array(crop)).permute(2, 0, 1)
