"""Ghost batch normalization: each group of a mini-batch is normalized by its own mean and variance."""

from typing import NamedTuple

import torch
from torch import Tensor

from bn.norm.algorithm1 import kernel


class Ghost(NamedTuple):
    """What was normalized, and the mean and the unbiased variance of each group, (groups, *features)."""

    y: Tensor
    mean: Tensor
    var: Tensor


def ghost_norm(parts: tuple[Tensor, ...], gamma: Tensor, beta: Tensor, eps: float) -> Ghost:
    """Algorithm 1 on each of the `parts` of a mini-batch, with the bits that it gives for the part alone."""
    mean = gamma.new_zeros(len(parts), *gamma.shape)
    var = torch.zeros_like(mean)
    # With momentum 1 what the kernel keeps is the part's own mean and unbiased variance.
    y = [kernel(part, mean[i], var[i], gamma, beta, True, 1.0, eps) for i, part in enumerate(parts)]
    return Ghost(torch.cat(y), *in_range(parts, mean, var))


def ghost_norm_in_one_call(parts: tuple[Tensor, ...], gamma: Tensor, beta: Tensor, eps: float) -> Ghost:
    """The same to rounding, for a GPU, to which many calls cost more than copying: a part's channels count as
    channels of their own beside those of the others, so that one call normalizes all."""
    count = len(parts)
    mean = gamma.new_zeros(count * len(gamma), *gamma.shape[1:])
    var = torch.zeros_like(mean)
    repeats = count, *[1] * (gamma.dim() - 1)
    wide = gamma.repeat(repeats), beta.repeat(repeats)
    y = kernel(torch.cat(parts, 1), mean, var, *wide, True, 1.0, eps)
    kept = (count, *gamma.shape)
    return Ghost(torch.cat(y.chunk(count, 1)), *in_range(parts, mean.view(kept), var.view(kept)))


def ghost_norm_in_one(x: Tensor, group: int, gamma: Tensor, beta: Tensor, eps: float) -> Ghost:
    """The same as one expression, for a compiler to fuse: it would generate kernels for each of the parts."""
    parts = x.unflatten(0, (-1, group))  # (groups, group, C, ...)
    parts = parts.to(torch.promote_types(gamma.dtype, torch.float32))
    over = (1,) if gamma.dim() > 1 else (1, *range(3, parts.dim()))
    var, mean = torch.var_mean(parts, over, correction=0, keepdim=True)
    features = [*gamma.shape, *[1] * (parts.dim() - 2 - gamma.dim())]
    y = (parts - mean) * torch.rsqrt(var + eps) * gamma.view(features) + beta.view(features)
    m = parts[0].numel() // gamma.numel()
    kept = (-1, *gamma.shape)
    return Ghost(y.flatten(0, 1).to(x.dtype), mean.detach().view(kept), var.detach().view(kept) * m / (m - 1))


def in_range(parts: tuple[Tensor, ...], mean: Tensor, var: Tensor) -> tuple[Tensor, Tensor]:
    """`mean` and `var` of the parts, in float32 where they are of a shorter type: a variance may be beyond
    float16 where the moving average, which takes a tenth of it, is not."""
    wide = torch.promote_types(mean.dtype, torch.float32)
    if wide == mean.dtype:
        return mean, var
    over = (0,) if mean.dim() > 2 else (0, *range(2, parts[0].dim()))
    found = [torch.var_mean(part.detach().to(wide), over) for part in parts]
    return torch.stack([mean for _, mean in found]), torch.stack([var for var, _ in found])
