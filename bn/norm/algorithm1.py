"""The batch normalizing transform (Algorithm 1) as a function, computed by torch's kernel."""

import torch
import torch.nn.functional as F
from torch import Size, Tensor


def batch_norm(x: Tensor, gamma: Tensor, beta: Tensor, eps: float = 1e-5) -> Tensor:
    """Return y = BN_{gamma,beta}(x): normalize `x` over the mini-batch B, then scale and shift it.

        mu_B     = 1/m sum x                              mini-batch mean
        sigma2_B = 1/m sum (x - mu_B)^2                   mini-batch variance (biased)
        xhat     = (x - mu_B) / sqrt(sigma2_B + eps)      normalize
        y        = gamma * xhat + beta                    scale and shift

    The shape of `gamma` and `beta` determines the m values of which each mean is taken:

    - (C,), with `x` (N, C) or (N, C, H, W): one pair per channel; statistics over the batch and all
      locations, m = N or N * H * W (section 3.2).
    - `x.shape[1:]`, such as (C, H, W): one pair per activation; statistics over the batch alone, m = N.

    `eps` must be positive. Gradients flow through the statistics. Raises ValueError if the shapes do not fit,
    or if m < 2, for which xhat would be 0 whatever x is.
    """
    if beta.shape != gamma.shape:
        raise ValueError(f"gamma is {tuple(gamma.shape)} but beta is {tuple(beta.shape)}")
    check_shape(x, gamma.shape)
    check_batch(x, gamma.shape)
    return kernel(x, None, None, gamma, beta, training=True, momentum=0.0, eps=eps)


def check_shape(x: Tensor, features: Size) -> None:
    """Raise ValueError unless gamma and beta of shape `features` can normalize `x`."""
    per_channel = x.dim() in (2, 4) and features == x.shape[1:2]
    per_activation = x.dim() >= 2 and features == x.shape[1:]
    if not (per_channel or per_activation):
        wanted = ", ".join(map(str, features))
        or_maps = f" or (N, {wanted}, H, W)" if len(features) == 1 else ""
        raise ValueError(
            f"batch normalization of {tuple(features)} features takes an input of shape "
            f"(N, {wanted}){or_maps}, got {tuple(x.shape)}"
        )


def check_batch(x: Tensor, features: Size) -> None:
    """Raise ValueError unless each mean and variance is over at least two values of `x`."""
    if x.numel() < 2 * features.numel():
        raise ValueError(
            "batch statistics need more than one value per channel (per activation), "
            f"got an input of shape {tuple(x.shape)}"
        )


def groups(x: Tensor, size: int | None) -> tuple[Tensor, ...]:
    """Split `x` into consecutive groups of `size` examples (views); None returns one group.

    Raises ValueError unless `size` divides the number of examples.
    """
    if size is None:
        return (x,)
    if len(x) % size or not len(x):
        raise ValueError(f"a mini-batch of {len(x)} cannot be normalized in groups of {size}")
    return x.split(size)


def kernel(
    x: Tensor,
    mean: Tensor | None,
    var: Tensor | None,
    gamma: Tensor,
    beta: Tensor,
    training: bool,
    momentum: float,
    eps: float,
) -> Tensor:
    """Call F.batch_norm for either form. `mean`, `var`, `gamma` and `beta` have the same shape.

    Per-activation normalization of (N, C, H, W) is per-channel normalization of (N, C * H * W).
    The result keeps the memory format of `x`.
    """
    if gamma.dim() == 1:
        return F.batch_norm(x, mean, var, gamma, beta, training, momentum, eps)
    # view, not flatten: flatten may copy, and the update of the moving averages would be lost.
    mean = None if mean is None else mean.view(-1)
    var = None if var is None else var.view(-1)
    gamma, beta = gamma.flatten(), beta.flatten()
    y = F.batch_norm(x.flatten(1), mean, var, gamma, beta, training, momentum, eps).view(x.shape)
    channels_last = x.dim() == 4 and x.is_contiguous(memory_format=torch.channels_last)
    return y.contiguous(memory_format=torch.channels_last) if channels_last else y
