"""Ghost batch normalization: each group of a mini-batch is normalized by its own mean and variance.

The three functions compute the same; each is the fastest in one setting.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from bn.norm.algorithm1 import kernel


class Ghost(NamedTuple):
    """The output y, and the mean and unbiased variance of each group, (groups, *features)."""

    y: Tensor
    mean: Tensor
    var: Tensor


def ghost_norm(parts: tuple[Tensor, ...], gamma: Tensor, beta: Tensor, eps: float) -> Ghost:
    """Apply Algorithm 1 to each group of `parts`, with the same bits as to the group alone."""
    mean = gamma.new_zeros(len(parts), *gamma.shape)
    var = torch.zeros_like(mean)
    # With momentum 1 the kernel stores the group's own mean and unbiased variance.
    y = [kernel(part, mean[i], var[i], gamma, beta, True, 1.0, eps) for i, part in enumerate(parts)]
    return Ghost(torch.cat(y), *in_float32(parts, mean, var))


def ghost_norm_one_call(parts: tuple[Tensor, ...], gamma: Tensor, beta: Tensor, eps: float) -> Ghost:
    """Compute `ghost_norm` to rounding in one kernel call, for a GPU, where many calls cost more than a copy.

    The groups are placed side by side as additional channels.
    """
    count = len(parts)
    mean = gamma.new_zeros(count * len(gamma), *gamma.shape[1:])
    var = torch.zeros_like(mean)
    repeats = count, *[1] * (gamma.dim() - 1)
    wide = gamma.repeat(repeats), beta.repeat(repeats)
    y = kernel(torch.cat(parts, 1), mean, var, *wide, True, 1.0, eps)
    shape = (count, *gamma.shape)
    return Ghost(torch.cat(y.chunk(count, 1)), *in_float32(parts, mean.view(shape), var.view(shape)))


def ghost_norm_fusible(x: Tensor, group: int, gamma: Tensor, beta: Tensor, eps: float) -> Ghost:
    """Compute `ghost_norm` to rounding as one expression, which torch.compile fuses.

    From a loop it would generate kernels for each group.
    """
    parts = x.unflatten(0, (-1, group))  # (groups, group, C, ...)
    parts = parts.to(torch.promote_types(gamma.dtype, torch.float32))
    dims = (1,) if gamma.dim() > 1 else (1, *range(3, parts.dim()))
    var, mean = torch.var_mean(parts, dims, correction=0, keepdim=True)
    features = [*gamma.shape, *[1] * (parts.dim() - 2 - gamma.dim())]
    y = (parts - mean) * torch.rsqrt(var + eps) * gamma.view(features) + beta.view(features)
    m = parts[0].numel() // gamma.numel()
    shape = (-1, *gamma.shape)
    unbiased = var.detach().view(shape) * m / (m - 1)
    return Ghost(y.flatten(0, 1).to(x.dtype), mean.detach().view(shape), unbiased)


def in_float32(parts: tuple[Tensor, ...], mean: Tensor, var: Tensor) -> tuple[Tensor, Tensor]:
    """Return `mean` and `var`, recomputed in float32 if they are of a shorter type.

    A variance may overflow float16 although the moving average, which takes a tenth of it, does not.
    """
    wide = torch.promote_types(mean.dtype, torch.float32)
    if wide == mean.dtype:
        return mean, var
    dims = (0,) if mean.dim() > 2 else (0, *range(2, parts[0].dim()))
    variances, means = zip(*(torch.var_mean(part.detach().to(wide), dims) for part in parts), strict=True)
    return torch.stack(means), torch.stack(variances)
