"""Photometric distortion in training, and the normalization of the network's input.

The paper reduces GoogLeNet's photometric distortions (section 4.2.1) without saying what they were or by how
much. (D) GoogLeNet's are Howard's ("Some improvements on deep convolutional neural network based
image classification", 2013), to which GoogLeNet's paper points: brightness, contrast and saturation by
factors of 0.5 to 1.5 in random order, then the lighting noise of AlexNet. Reduced: 0.8 to 1.2, no lighting.
"""

from itertools import permutations

import numpy as np
import torch
from torch import Tensor

MEAN = (128.0, 117.0, 104.0)  # (D) RGB: of the public BN-Inception weights, so that theirs convert exactly
STD = 58.0  # (D)

DRAWS = 7  # brightness, contrast, saturation, their order, and three of lighting

LUMA = (0.2989, 0.587, 0.114)  # shares of R, G, B in gray, as torchvision's
LIGHTING_STD = 0.1
# Principal components of the colours of ImageNet's pixels (AlexNet's, as published with fb.resnet.torch):
# the deviation along each, in 0..255, and their directions in RGB, one a column.
EIGENVALUES = np.array([0.2175, 0.0188, 0.0045]) * 255
EIGENVECTORS = np.array([[-0.5675, 0.7192, 0.4009], [-0.5808, -0.0045, -0.8140], [-0.5836, -0.6948, 0.4203]])

_RANGE = {"reduced": 0.2, "googlenet": 0.5}
_ORDERS = np.array(list(permutations(range(3))))  # of brightness 0, contrast 1, saturation 2


def distort(images: Tensor, u: np.ndarray, strength: str) -> Tensor:
    """Images (N, 3, S, S) in 0..255 with changed colours, from `u` (N, DRAWS) uniform in [0, 1).

    `strength` is that of `ImageData.distortion`: "none" gives `images` itself, "reduced", "googlenet". Each
    change is torchvision's adjust_brightness, _contrast or _saturation (a blend with black, with the mean
    gray, with the gray image), clamped after each; the lighting adds one colour to an image.
    """
    return recolored(images, *changes(u, strength, images.device))


def changes(u: np.ndarray, strength: str, device: torch.device) -> tuple[Tensor | None, Tensor | None]:
    """What `recolored` takes, from `u` (N, DRAWS): blends (3, 3, N); light (N, 3), of "googlenet" alone."""
    if strength == "none":
        return None, None
    factors = 1 + _RANGE[strength] * (2 * u[:, :3] - 1)
    order = _ORDERS[(u[:, 3] * len(_ORDERS)).astype(np.int64)]
    factor = np.take_along_axis(factors, order, 1)
    # (stage, 3, N): how much of the image, of its mean gray and of its gray make up what the stage gives
    blends = np.stack([factor, (1 - factor) * (order == 1), (1 - factor) * (order == 2)]).transpose(2, 0, 1)
    light = _on(device, lighting(u[:, 4:])) if strength == "googlenet" else None
    return _on(device, blends), light


def recolored(images: Tensor, blends: Tensor | None, light: Tensor | None) -> Tensor:
    """Images (N, 3, S, S) in 0..255, blended three times with their gray, then lit; clamped after each.

    `blends` (3, 3, N): for each stage the shares of the image, of its mean gray and of its gray. `light`
    (N, 3): what is added to R, G and B. Without either, `images` itself.
    """
    if blends is None:
        return images
    images = images.clone()
    for of_image, of_mean, of_gray in blends[..., None, None, None]:
        gray = _gray(images)
        blend = gray * of_gray + gray.mean((2, 3), keepdim=True) * of_mean
        images.mul_(of_image).add_(blend).clamp_(0, 255)
    return images if light is None else images.add_(light[..., None, None]).clamp_(0, 255)


def lighting(u: np.ndarray) -> np.ndarray:
    """(N, 3) float64, RGB in 0..255: AlexNet's noise along the principal axes, from uniform `u` (N, 3)."""
    # The normal quantile of 0 is -inf, so 0 counts as the next number that `u` can be.
    normal = torch.special.ndtri(torch.from_numpy(u).clamp(min=2.0**-53)).numpy()
    return (LIGHTING_STD * normal * EIGENVALUES) @ EIGENVECTORS.T


def normalize(images: Tensor) -> Tensor:
    """What the network sees of images (..., 3, S, S) in 0..255: (images - MEAN) / STD."""
    return (images - _on(images.device, np.array(MEAN))[:, None, None]).div_(STD)


def _gray(images: Tensor) -> Tensor:
    """(N, 1, S, S)"""
    red, green, blue = images.split(1, 1)
    return (red * LUMA[0]).add_(green, alpha=LUMA[1]).add_(blue, alpha=LUMA[2])


def network_input(
    images: Tensor,
    blends: Tensor | None,
    light: Tensor | None,
    layout: torch.memory_format = torch.contiguous_format,
) -> Tensor:
    """What the network sees of `images` in training: forty kernels, which a compiler makes into a few."""
    return normalize(recolored(images.float(), blends, light)).contiguous(memory_format=layout)


def _on(device: torch.device, values: np.ndarray) -> Tensor:
    """As float32, without waiting for the device."""
    return torch.from_numpy(values).float().to(device, non_blocking=True)
