"""The batch normalizing transform of Algorithm 1 as a function, on torch's own kernel."""

import torch
import torch.nn.functional as F
from torch import Size, Tensor


def batch_norm(x: Tensor, gamma: Tensor, beta: Tensor, eps: float = 1e-5) -> Tensor:
    """Normalize `x` by the statistics of this mini-batch: y = BN_{gamma,beta}(x), Algorithm 1.

        mu_B = mean of x;  sigma2_B = biased variance of x (over m, not m - 1)
        y = gamma * (x - mu_B) / sqrt(sigma2_B + eps) + beta

    The shape of `gamma` and `beta` says over what B runs:

    - (C,), `x` is (N, C) or (N, C, H, W): one pair per channel, statistics over the batch and
      all locations, m = N or N * H * W (section 3.2).
    - the shape of one example, `x.shape[1:]`, such as (C, H, W): one pair per activation,
      statistics over the batch alone, m = N.

    `eps` is positive. Gradients flow through the statistics. Returns a tensor of the shape of `x`.
    Raises ValueError for shapes that do not fit, and for m < 2, where xhat would be 0 whatever x.
    """
    if beta.shape != gamma.shape:
        raise ValueError(f"gamma is {tuple(gamma.shape)} but beta is {tuple(beta.shape)}")
    check_shape(x, gamma.shape)
    check_batch(x, gamma.shape)
    return kernel(x, None, None, gamma, beta, training=True, momentum=0.0, eps=eps)


def check_shape(x: Tensor, features: Size) -> None:
    """Raise ValueError unless `x` can be normalized by pairs (gamma, beta) of shape `features`."""
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
    """Raise ValueError unless each mean and variance is taken over at least two values of `x`."""
    if x.numel() < 2 * features.numel():
        raise ValueError(
            "batch statistics need more than one value per channel (per activation), "
            f"got an input of shape {tuple(x.shape)}"
        )


def groups(x: Tensor, size: int | None) -> tuple[Tensor, ...]:
    """`x` in consecutive groups of `size` examples, as views; None makes one of all.

    Raises ValueError unless they come out even.
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
    """torch's batch normalization, in either form; all of `mean` to `beta` are of one shape.

    Per-activation normalization of (N, C, H, W) is per-channel normalization of (N, C * H * W).
    The result has the memory format of `x`.
    """
    if gamma.dim() == 1:
        return F.batch_norm(x, mean, var, gamma, beta, training, momentum, eps)
    # view, not flatten: where no view is possible, flatten would copy and the update be lost
    mean = None if mean is None else mean.view(-1)
    var = None if var is None else var.view(-1)
    gamma, beta = gamma.flatten(), beta.flatten()
    y = F.batch_norm(x.flatten(1), mean, var, gamma, beta, training, momentum, eps).view(x.shape)
    channels_last = x.dim() == 4 and x.is_contiguous(memory_format=torch.channels_last)
    return y.contiguous(memory_format=torch.channels_last) if channels_last else y
