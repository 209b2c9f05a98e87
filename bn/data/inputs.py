"""What the MLP sees of the binary images of section 4.1: themselves, whitened, or as of another data set.

Each constructor takes the training images, (N, 784) in 0..1, from which statistics are taken, and gives a
function of the images of any split and its name. It gives float32 images of the same shape.
"""

from collections.abc import Callable

import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor

from bn.data.seeds import generator

Change = Callable[[Tensor, str], Tensor]

EPS = 0.01  # added to variances: some pixels are 0 in all images
BLUR = 1.0  # standard deviation of the Gaussian, in pixels
NOISE = 0.5  # standard deviation; a pixel is 0 or 1
SHIFT = 3  # pixels to the right, and down
CONTRAST = 0.4  # the distance of black and white


def binary(_train: Tensor) -> Change:
    return lambda images, _: images.float()


def standardized(train: Tensor) -> Change:
    """Each pixel minus its mean, over the square root of its variance + EPS."""
    var, mean = torch.var_mean(train.double(), 0, correction=0)
    return lambda images, _: ((images - mean) / torch.sqrt(var + EPS)).float()


def whitened(train: Tensor) -> Change:
    """(Cov[x] + EPS)^(-1/2) (x - E[x]): the pixels uncorrelated, of variance 1 (section 2).

    Directions whose variance is not much larger than EPS have less than 1.
    """
    mean = train.mean(0, dtype=torch.float32)
    centred = train - mean
    covariance = (centred.T @ centred).double() / len(train)
    values, vectors = torch.linalg.eigh(covariance)
    root = (vectors / torch.sqrt(values.clamp(min=0) + EPS) @ vectors.T).float()
    return lambda images, _: (images - mean) @ root


def inverted(_train: Tensor) -> Change:
    """Black digits on white."""
    return lambda images, _: 1 - images.float()


def blurred(_train: Tensor) -> Change:
    def change(images: Tensor, _: str) -> Tensor:
        pictures = images.float().reshape(-1, 28, 28).numpy()
        smooth = gaussian_filter(pictures, (0, BLUR, BLUR), mode="constant")
        return torch.from_numpy(smooth).reshape(images.shape)

    return change


def noisy(_train: Tensor) -> Change:
    """Gaussian noise is added, the same in every run; values go beyond 0..1."""

    def change(images: Tensor, split: str) -> Tensor:
        noise = torch.randn(images.shape, generator=generator(0, "noise", split))
        return images + NOISE * noise

    return change


def shifted(_train: Tensor) -> Change:
    """To the right and down; what leaves the image is lost."""

    def change(images: Tensor, _: str) -> Tensor:
        pictures = images.float().reshape(-1, 28, 28)
        moved = torch.zeros_like(pictures)
        moved[:, SHIFT:, SHIFT:] = pictures[:, :-SHIFT, :-SHIFT]
        return moved.reshape(images.shape)

    return change


def low_contrast(_train: Tensor) -> Change:
    """Around a middle gray."""
    return lambda images, _: 0.5 + CONTRAST * (images - 0.5)
