"""What an Inception network sees of the photographs: themselves, or as of another data set.

Each change takes images (N, 3, H, W), float32 in 0..1, and a generator, and gives images of that shape; what
leaves 0..1 is cut off.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Generator, Tensor

from bn.config import ImageData
from bn.config.choices import PHOTO_INPUTS, load
from bn.data.pictures import ArrayPictures, Pictures
from bn.data.resident import decoded
from bn.data.seeds import generator

Change = Callable[[Tensor, Generator], Tensor]

BLUR = 1.0  # standard deviation of the Gaussian, in pixels
NOISE = 0.1  # standard deviation
SHIFT = 4  # pixels to the right, and down
CONTRAST = 0.4  # times the original
CHUNK = 1000  # images at a time, for less memory


def as_seen(pictures: Pictures, split: str, data: ImageData) -> Pictures:
    """`pictures`, or with data.inputs their changed copies, in memory; these are the same in every run.

    UserError if images to be changed are not all `data.resize` x `data.resize`, or one cannot be read.
    """
    if data.inputs == "original":
        return pictures
    change: Change = load(PHOTO_INPUTS[data.inputs])
    draws = generator(0, data.inputs, split)
    images = decoded(pictures, data.resize)
    found = np.empty_like(images)
    for start in range(0, len(images), CHUNK):
        chunk = slice(start, start + CHUNK)
        changed = change(torch.from_numpy(images[chunk]).float() / 255, draws)
        found[chunk] = (changed.clamp(0, 1) * 255).round().byte().numpy()
    return ArrayPictures(found, pictures.labels, f"{data.name}/{split}")


def original(images: Tensor, _: Generator) -> Tensor:
    return images


def inverted(images: Tensor, _: Generator) -> Tensor:
    """Each color becomes its complement."""
    return 1 - images


def blurred(images: Tensor, _: Generator) -> Tensor:
    from scipy.ndimage import gaussian_filter  # a slow import, and only this needs it

    smooth = gaussian_filter(images.numpy(), (0, 0, BLUR, BLUR), mode="nearest")
    return torch.from_numpy(smooth)


def noisy(images: Tensor, draws: Generator) -> Tensor:
    """Gaussian noise, of each color by itself."""
    return images + NOISE * torch.randn(images.shape, generator=draws)


def shifted(images: Tensor, _: Generator) -> Tensor:
    """To the right and down, from black; what leaves the image is lost."""
    moved = torch.zeros_like(images)
    moved[..., SHIFT:, SHIFT:] = images[..., :-SHIFT, :-SHIFT]
    return moved


def low_contrast(images: Tensor, _: Generator) -> Tensor:
    """Around a middle gray."""
    return 0.5 + CONTRAST * (images - 0.5)
