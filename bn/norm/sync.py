"""Algorithm 1 over the mini-batch of all processes."""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from bn.norm.algorithm1 import check_shape
from bn.norm.module import BatchNorm


class SyncBatchNorm(BatchNorm):
    """`BatchNorm` whose mini-batch, in training, is that of all ranks together; one process: `BatchNorm`.

    The per-channel form alone, without groups. m counts the values of all ranks, whose shares may differ in
    size; all keep the same statistics. torch's own SyncBatchNorm takes no tensors on the CPU.

    The gradient of a rank's input is that of the *sum* of the ranks' losses; those of gamma and beta are this
    rank's part of it, for DistributedDataParallel to combine with the others'. Every rank has to take part in
    each pass, forward and backward, in training mode. Raises ValueError where all have one value together.
    Not for torch.compile, which would be stopped at each collective.
    """

    features: int

    def __init__(self, features: int, eps: float = 1e-5, momentum: float = 0.1) -> None:
        super().__init__(features, eps, momentum)

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or not shared():
            return super().forward(x)
        check_shape(x, self.weight.shape)
        count, mean, var = moments_of_all(x)
        with torch.no_grad():
            self.running_mean.lerp_(mean.to(self.running_mean.dtype), self.momentum)
            self.running_var.lerp_((var * (count / (count - 1))).to(self.running_var.dtype), self.momentum)
        self._count()
        return _Normalize.apply(x, self.weight, self.bias, mean, var, count, self.eps)  # type: ignore


def shared() -> bool:
    """Whether there are other ranks."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


@torch.no_grad()
def moments_of_all(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """m, mean and biased variance, float64, () and (C,), of all ranks' `x`: each has the same bits."""
    channels = x.shape[1]
    x = x if x.dtype == torch.float64 else x.float()
    var, mean = torch.var_mean(x, (0, *range(2, x.dim())), correction=0)
    m = torch.full((1,), x.numel() // channels, dtype=torch.float64, device=x.device)  # without a copy to it
    mine = torch.cat((mean.double(), var.double(), m))
    rows = _gather(mine)
    counts, means, variances = rows[:, -1:], rows[:, :channels], rows[:, channels:-1]
    count = counts.sum()
    if x.numel() < 2 * channels and count < 2:  # else this rank has enough: nothing to wait for on a GPU
        raise ValueError(f"batch statistics need more than one value per channel, got {int(count)} in all")
    mean = (counts * means).sum(0) / count
    var = (counts * (variances + (means - mean) ** 2)).sum(0) / count
    return count, mean, var


def _gather(mine: Tensor) -> Tensor:
    rows = [torch.empty_like(mine) for _ in range(dist.get_world_size())]
    dist.all_gather(rows, mine)
    return torch.stack(rows)


class _Normalize(torch.autograd.Function):
    """gamma * xhat + beta; x depends on the statistics of all ranks, as section 3's gradients say."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, gamma: Tensor, beta: Tensor, mean: Tensor, var: Tensor, m: Tensor, eps: float
    ) -> Tensor:
        shape = (1, -1, *[1] * (x.dim() - 2))
        scale = torch.rsqrt(var + eps).to(gamma.dtype)
        mean = mean.to(gamma.dtype)
        ctx.save_for_backward(x, gamma, mean, scale, m)
        y = (x - mean.view(shape)) * (scale * gamma).view(shape) + beta.view(shape)
        return y.to(x.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (dy,) = gradients
        x, gamma, mean, scale, m = ctx.saved_tensors
        shape = (1, -1, *[1] * (x.dim() - 2))
        over = (0, *range(2, x.dim()))
        dy = dy.to(gamma.dtype)
        xhat = (x - mean.view(shape)) * scale.view(shape)
        dgamma, dbeta = (dy * xhat).sum(over), dy.sum(over)
        total = _gather(torch.cat((dgamma, dbeta)).double()).sum(0) / m
        mean_dy_xhat, mean_dy = total.to(gamma.dtype).split(len(gamma))
        dx = (dy - mean_dy.view(shape) - xhat * mean_dy_xhat.view(shape)) * (scale * gamma).view(shape)
        return dx.to(x.dtype), dgamma, dbeta, None, None, None, None
