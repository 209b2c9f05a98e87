"""Photometric distortion in training, and the normalization of the network's input.

The paper reduces GoogLeNet's photometric distortions (section 4.2.1) but specifies neither them nor the
reduction. (D) GoogLeNet's are Howard's ("Some improvements on deep convolutional neural network based image
classification", 2013), which GoogLeNet's paper cites: brightness, contrast and saturation by factors of 0.5
to 1.5 in random order, then AlexNet's lighting noise. Reduced: factors of 0.8 to 1.2, no lighting noise.
"""

from itertools import permutations

import numpy as np
import torch
from torch import Tensor

MEAN = (128.0, 117.0, 104.0)  # (D) RGB; those of the public BN-Inception weights, which thus convert exactly
STD = 58.0  # (D)

DRAWS = 7  # brightness, contrast, saturation, their order, and three for lighting

LUMA = (0.2989, 0.587, 0.114)  # weights of R, G, B in gray, as in torchvision
LIGHTING_STD = 0.1
# Principal components of ImageNet's RGB pixels (AlexNet's, as published with fb.resnet.torch): the scale of
# each, in 0..255, and their directions, one per column.
EIGENVALUES = np.array([0.2175, 0.0188, 0.0045]) * 255
EIGENVECTORS = np.array([[-0.5675, 0.7192, 0.4009], [-0.5808, -0.0045, -0.8140], [-0.5836, -0.6948, 0.4203]])

_RANGE = {"reduced": 0.2, "googlenet": 0.5}
_ORDERS = np.array(list(permutations(range(3))))  # of brightness 0, contrast 1, saturation 2


def distort(images: Tensor, u: np.ndarray, strength: str) -> Tensor:
    """Distort the colors of images (N, 3, S, S) in 0..255, given `u` (N, DRAWS) uniform in [0, 1).

    `strength` is `ImageData.distortion`: "none" (returns `images` itself), "reduced" or "googlenet". The
    steps are torchvision's adjust_brightness, adjust_contrast and adjust_saturation (blends with black, with
    the mean gray and with the gray image), each clamped; lighting noise adds one color to the whole image.
    """
    return apply_distortion(images, *distortion_factors(u, strength, images.device))


def distortion_factors(
    u: np.ndarray, strength: str, device: torch.device
) -> tuple[Tensor | None, Tensor | None]:
    """The arguments of `apply_distortion`, from `u` (N, DRAWS): blends (3, 3, N) and light (N, 3).

    Both are None for "none", and light is None for "reduced".
    """
    if strength == "none":
        return None, None
    factors = 1 + _RANGE[strength] * (2 * u[:, :3] - 1)
    order = _ORDERS[(u[:, 3] * len(_ORDERS)).astype(np.int64)]
    factor = np.take_along_axis(factors, order, 1)
    # (stage, 3, N): the weights of the image, of its mean gray and of its gray in the output of each stage
    blends = np.stack([factor, (1 - factor) * (order == 1), (1 - factor) * (order == 2)]).transpose(2, 0, 1)
    light = _on(device, lighting(u[:, 4:])) if strength == "googlenet" else None
    return _on(device, blends), light


def apply_distortion(images: Tensor, blends: Tensor | None, light: Tensor | None) -> Tensor:
    """Blend images (N, 3, S, S) in 0..255 with their gray in three stages, then add light; clamp each time.

    `blends` (3, 3, N): for each stage the weights of the image, of its mean gray and of its gray. `light`
    (N, 3) is added to R, G and B. With neither, `images` itself is returned.
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
    """AlexNet's noise along the principal axes: (N, 3) float64 RGB in 0..255, from uniform `u` (N, 3)."""
    # The normal quantile of 0 is -inf, so 0 is replaced by the smallest nonzero u.
    normal = torch.special.ndtri(torch.from_numpy(u).clamp(min=2.0**-53)).numpy()
    return (LIGHTING_STD * normal * EIGENVALUES) @ EIGENVECTORS.T


def normalize(images: Tensor) -> Tensor:
    """(images - MEAN) / STD, for images (..., 3, S, S) in 0..255."""
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
    """Distort and normalize a training mini-batch: forty kernels, which torch.compile fuses into a few."""
    return normalize(apply_distortion(images.float(), blends, light)).contiguous(memory_format=layout)


def _on(device: torch.device, values: np.ndarray) -> Tensor:
    """Copy to the device as float32, asynchronously."""
    return torch.from_numpy(values).float().to(device, non_blocking=True)
