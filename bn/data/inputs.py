"""Input transformations for the MLP (`data.inputs`): whitening, or changes that imitate another data set.

Each constructor takes the binary training images, (N, 784), of which it computes statistics, and returns a
function of the images and the name of any split, which returns float32 images of the same shape.
"""

from collections.abc import Callable

import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor

from bn.data.seeds import generator

Transform = Callable[[Tensor, str], Tensor]

EPS = 0.01  # added to variances, since some pixels are 0 in all images
BLUR = 1.0  # standard deviation of the Gaussian, in pixels
NOISE = 0.5  # standard deviation; pixels are 0 or 1
SHIFT = 3  # pixels to the right and down
CONTRAST = 0.4  # difference between black and white


def binary(_train: Tensor) -> Transform:
    return lambda images, _: images.float()


def standardized(train: Tensor) -> Transform:
    """Subtract the mean of each pixel and divide by the square root of its variance + EPS."""
    var, mean = torch.var_mean(train.double(), 0, correction=0)
    return lambda images, _: ((images - mean) / torch.sqrt(var + EPS)).float()


def whitened(train: Tensor) -> Transform:
    """Whiten: (Cov[x] + EPS)^(-1/2) (x - E[x]), so that pixels are uncorrelated with variance 1 (section 2).

    Directions whose variance is not much larger than EPS get a variance below 1.
    """
    mean = train.mean(0, dtype=torch.float32)
    centered = train - mean
    covariance = (centered.T @ centered).double() / len(train)
    values, vectors = torch.linalg.eigh(covariance)
    root = (vectors / torch.sqrt(values.clamp(min=0) + EPS) @ vectors.T).float()
    return lambda images, _: (images - mean) @ root


def inverted(_train: Tensor) -> Transform:
    """Black digits on white."""
    return lambda images, _: 1 - images.float()


def blurred(_train: Tensor) -> Transform:
    def transform(images: Tensor, _: str) -> Tensor:
        square = images.float().reshape(-1, 28, 28).numpy()
        smooth = gaussian_filter(square, (0, BLUR, BLUR), mode="constant")
        return torch.from_numpy(smooth).reshape(images.shape)

    return transform


def noisy(_train: Tensor) -> Transform:
    """Add Gaussian noise, the same in every run; values are not clipped to 0..1."""

    def transform(images: Tensor, split: str) -> Tensor:
        noise = torch.randn(images.shape, generator=generator(0, "noise", split))
        return images + NOISE * noise

    return transform


def shifted(_train: Tensor) -> Transform:
    """Shift to the right and down, filling with black."""

    def transform(images: Tensor, _: str) -> Tensor:
        square = images.float().reshape(-1, 28, 28)
        moved = torch.zeros_like(square)
        moved[:, SHIFT:, SHIFT:] = square[:, :-SHIFT, :-SHIFT]
        return moved.reshape(images.shape)

    return transform


def low_contrast(_train: Tensor) -> Transform:
    """Reduce the contrast around medium gray."""
    return lambda images, _: 0.5 + CONTRAST * (images - 0.5)
