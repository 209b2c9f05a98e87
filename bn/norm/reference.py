"""Algorithm 1 and its gradients as the paper prints them: the readable reference, without autograd.

The shape of gamma says which form is meant. With (C,), an input (N, C) or (N, C, H, W) is
normalized per channel, over the batch and all locations (section 3.2: m' = m * p * q). With
the shape of one whole example, (C, H, W), each activation is normalized over the batch alone.
"""

from typing import NamedTuple

import torch
from torch import Tensor


class Forward(NamedTuple):
    """What Algorithm 1 computes; the statistics have the shape of gamma."""

    y: Tensor
    xhat: Tensor
    mean: Tensor
    """mu_B"""
    var: Tensor
    """sigma2_B, biased: the sum of squares over m, not m - 1"""


class Gradients(NamedTuple):
    """The six gradients of section 3, named by what the loss l is differentiated by."""

    xhat: Tensor
    var: Tensor
    mean: Tensor
    x: Tensor
    gamma: Tensor
    beta: Tensor


def reference_forward(x: Tensor, gamma: Tensor, beta: Tensor, eps: float = 1e-5) -> Forward:
    """Algorithm 1. `x` is (N, C) or (N, C, H, W), `gamma` and `beta` (C,) or `x.shape[1:]`.

    `eps` may be 0, where the properties that the paper states hold exactly.
    """
    dims, shape, m = _batch_of(x, gamma)
    mean = x.sum(dims, keepdim=True) / m
    var = ((x - mean) ** 2).sum(dims, keepdim=True) / m
    xhat = (x - mean) / torch.sqrt(var + eps)
    y = gamma.view(shape) * xhat + beta.view(shape)
    return Forward(y, xhat, mean.view_as(gamma), var.view_as(gamma))


def reference_backward(dy: Tensor, x: Tensor, gamma: Tensor, eps: float = 1e-5) -> Gradients:
    """Return section 3's gradients, before simplification, for `dy` = dl/dy shaped as `x`."""
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
    """The dimensions that B runs over, gamma's shape against x, and m = |B|."""
    per_activation = gamma.shape == x.shape[1:]
    dims = [0] if per_activation else [0, *range(2, x.dim())]
    shape = [1 if dim in dims else size for dim, size in enumerate(x.shape)]
    return dims, shape, x.numel() // gamma.numel()
