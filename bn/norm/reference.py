"""Algorithm 1 and its gradients as the paper prints them: a readable reference without autograd.

The shape of gamma selects the form. With (C,), an input (N, C) or (N, C, H, W) is normalized per channel,
over the batch and all locations (section 3.2: m' = m * p * q). With the shape of a whole example, (C, H, W),
each activation is normalized over the batch alone.
"""

from typing import NamedTuple

import torch
from torch import Tensor


class Forward(NamedTuple):
    """The values that Algorithm 1 computes. The statistics have the shape of gamma."""

    y: Tensor
    xhat: Tensor
    mean: Tensor
    """mu_B"""
    var: Tensor
    """sigma2_B, biased: divided by m, not m - 1"""


class Gradients(NamedTuple):
    """The six gradients of section 3: the derivatives of the loss l with respect to each field."""

    xhat: Tensor
    var: Tensor
    mean: Tensor
    x: Tensor
    gamma: Tensor
    beta: Tensor


def reference_forward(x: Tensor, gamma: Tensor, beta: Tensor, eps: float = 1e-5) -> Forward:
    """Compute Algorithm 1. `x` is (N, C) or (N, C, H, W), `gamma` and `beta` are (C,) or `x.shape[1:]`.

    With `eps` 0 the properties that the paper states hold exactly.
    """
    dims, shape, m = _batch_of(x, gamma)
    mean = x.sum(dims, keepdim=True) / m
    var = ((x - mean) ** 2).sum(dims, keepdim=True) / m
    xhat = (x - mean) / torch.sqrt(var + eps)
    y = gamma.view(shape) * xhat + beta.view(shape)
    return Forward(y, xhat, mean.view_as(gamma), var.view_as(gamma))


def reference_backward(dy: Tensor, x: Tensor, gamma: Tensor, eps: float = 1e-5) -> Gradients:
    """Compute the gradients of section 3, before simplification, from `dy` = dl/dy, shaped like `x`.

    dl/dxhat     = dl/dy * gamma
    dl/dsigma2_B = sum dl/dxhat * (x - mu_B) * (-1/2) * (sigma2_B + eps)^(-3/2)
    dl/dmu_B     = sum dl/dxhat * -1 / sqrt(sigma2_B + eps) + dl/dsigma2_B * 1/m sum -2 (x - mu_B)
    dl/dx        = dl/dxhat / sqrt(sigma2_B + eps) + dl/dsigma2_B * 2 (x - mu_B) / m + dl/dmu_B / m
    dl/dgamma    = sum dl/dy * xhat
    dl/dbeta     = sum dl/dy
    """
    dims, shape, m = _batch_of(x, gamma)
    _, xhat, mean, var = reference_forward(x, gamma, torch.zeros_like(gamma), eps)
    centered = x - mean.view(shape)
    variance = var.view(shape) + eps

    dxhat = dy * gamma.view(shape)
    dvar = (dxhat * centered * -0.5 * variance**-1.5).sum(dims, keepdim=True)
    dmean = (dxhat * -(variance**-0.5)).sum(dims, keepdim=True)
    dmean = dmean + dvar * (-2 * centered).sum(dims, keepdim=True) / m
    dx = dxhat * variance**-0.5 + dvar * 2 * centered / m + dmean / m
    dgamma = (dy * xhat).sum(dims)
    dbeta = dy.sum(dims)
    return Gradients(dxhat, dvar.view_as(gamma), dmean.view_as(gamma), dx, dgamma, dbeta)


def _batch_of(x: Tensor, gamma: Tensor) -> tuple[list[int], list[int], int]:
    """Return the dimensions that B spans, the shape that broadcasts gamma over x, and m = |B|."""
    per_activation = gamma.shape == x.shape[1:]
    dims = [0] if per_activation else [0, *range(2, x.dim())]
    shape = [1 if dim in dims else size for dim, size in enumerate(x.shape)]
    return dims, shape, x.numel() // gamma.numel()
