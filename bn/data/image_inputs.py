"""Input transformations for image networks (`data.inputs`), which imitate a change of data set.

Each transformation takes images (N, 3, H, W), float32 in 0..1, and a generator, and returns images of the
same shape. The result is clipped to 0..1.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Generator, Tensor

from bn.config import ImageData
from bn.config.choices import IMAGE_INPUTS, load
from bn.data.datasets import ArrayDataset, ImageDataset
from bn.data.resident import decoded
from bn.data.seeds import generator

BLUR = 1.0  # standard deviation of the Gaussian, in pixels
NOISE = 0.1  # standard deviation
SHIFT = 4  # pixels to the right and down
CONTRAST = 0.4  # relative to the original
CHUNK = 1000  # images at a time, to save memory


def apply_inputs(dataset: ImageDataset, split: str, data: ImageData) -> ImageDataset:
    """Apply `data.inputs` to all images, in memory; the result is the same in every run.

    With data.inputs=original the data set is returned as it is. UserError if an image to be transformed
    cannot be read or is not `data.resize` x `data.resize`.
    """
    if data.inputs == "original":
        return dataset
    transform: Callable[[Tensor, Generator], Tensor] = load(IMAGE_INPUTS[data.inputs])
    draws = generator(0, data.inputs, split)
    images = decoded(dataset, data.resize)
    result = np.empty_like(images)
    for start in range(0, len(images), CHUNK):
        chunk = slice(start, start + CHUNK)
        changed = transform(torch.from_numpy(images[chunk]).float() / 255, draws)
        result[chunk] = (changed.clamp(0, 1) * 255).round().byte().numpy()
    return ArrayDataset(result, dataset.labels, f"{data.name}/{split}")


def original(images: Tensor, _: Generator) -> Tensor:
    return images


def inverted(images: Tensor, _: Generator) -> Tensor:
    """Replace each color by its complement."""
    return 1 - images


def blurred(images: Tensor, _: Generator) -> Tensor:
    from scipy.ndimage import gaussian_filter  # a slow import

    smooth = gaussian_filter(images.numpy(), (0, 0, BLUR, BLUR), mode="nearest")
    return torch.from_numpy(smooth)


def noisy(images: Tensor, draws: Generator) -> Tensor:
    """Add Gaussian noise, independently for each channel."""
    return images + NOISE * torch.randn(images.shape, generator=draws)


def shifted(images: Tensor, _: Generator) -> Tensor:
    """Shift to the right and down, filling with black."""
    moved = torch.zeros_like(images)
    moved[..., SHIFT:, SHIFT:] = images[..., :-SHIFT, :-SHIFT]
    return moved


def low_contrast(images: Tensor, _: Generator) -> Tensor:
    """Reduce the contrast around medium gray."""
    return 0.5 + CONTRAST * (images - 0.5)
