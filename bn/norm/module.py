"""Algorithm 1 as a module, with the moving averages of section 3.1."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from bn.norm.algorithm1 import check_batch, check_shape, groups, kernel
from bn.norm.ghost import ghost_norm, ghost_norm_in_one, ghost_norm_in_one_call


class BatchNorm(nn.Module):
    """Batch normalization, y = gamma * xhat + beta, to be placed just before the nonlinearity.

    `features` is an int C or a tuple:

    - C: input (N, C) or (N, C, H, W), one (gamma, beta) per channel, statistics over the batch
      and all locations (section 3.2);
    - a tuple such as (C, H, W): input (N, C, H, W), one (gamma, beta) per activation,
      statistics over the batch alone. (C,) is the same as C.

    `group` g divides a mini-batch of N into N / g groups of g consecutive examples, and in training
    each is a mini-batch of its own: normalized by its own mean and variance, to the very bits that
    it would have alone (on a GPU and within torch.compile, to rounding). So a large mini-batch trains as the
    paper's many workers with 32 examples each did. The kept statistics move once a call, towards the
    mean of the groups' means and unbiased variances. None makes one group of all. In evaluation mode
    there are no groups.

    In training mode (Algorithm 1) xhat = (x - mu_B) / sqrt(sigma2_B + eps), with the mean and
    variance of the mini-batch; in evaluation mode (Algorithm 2, step 11) the kept mean E[x] and
    variance Var[x] stand in their place, and an output depends on nothing but its own input.

    Conventions:

    - *The biased variance normalizes* (over m, Algorithm 1), *the unbiased is kept* (over
      m - 1, Algorithm 2).
    - `momentum` is torch's: kept = (1 - momentum) * kept + momentum * batch; 0.1 moves a tenth
      of the way to the newest batch. (TensorFlow and Caffe name 1 - momentum momentum or decay.)
    - Initially gamma = 1, beta = 0, mean 0, variance 1.
    - A call in training mode updates the kept statistics, also where gradients are off.

    Parameters and buffers carry torch's names, shapes and types: `weight` (gamma), `bias` (beta),
    `running_mean` (E[x]), `running_var` (Var[x]) and `num_batches_tracked`. A state dict of the
    per-channel form is interchangeable with one of torch.nn.BatchNorm1d or BatchNorm2d; as there, it
    may lack `num_batches_tracked` where it is older than that, which then counts as at least 1.

    The moving averages track the network while it trains. For the final network,
    `population_statistics` replaces them by Algorithm 2's.

    Raises ValueError where the input's shape does not fit, and in training mode where it is no whole
    number of groups or a group has one value per channel, the kept statistics being left as they were;
    RuntimeError in evaluation mode while no statistics exist (`num_batches_tracked` is 0), but not
    within torch.compile: compiled code does not look at values.
    """

    _version = 2  # as torch's: state dicts of an earlier one, or of none, may lack num_batches_tracked
    weight: nn.Parameter
    bias: nn.Parameter
    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def __init__(
        self,
        features: int | tuple[int, ...],
        eps: float = 1e-5,
        momentum: float = 0.1,
        group: int | None = None,
    ) -> None:
        super().__init__()
        shape = features if isinstance(features, Sequence) else (features,)
        if not shape or not all(map(_is_count, shape)):
            raise ValueError(f"features must be a positive int or a tuple of them, got {features!r}")
        if not (_is_real(eps) and 0 < eps < math.inf):
            raise ValueError(f"eps must be a positive number, got {eps!r}")
        if not (_is_real(momentum) and 0 <= momentum <= 1):
            raise ValueError(f"momentum must be from 0 to 1, got {momentum!r}")
        if not (group is None or _is_count(group)):
            raise ValueError(f"group must be a positive int or None, got {group!r}")
        self.features = features
        self.eps = eps
        self.momentum = momentum
        self.group = group
        self.weight = nn.Parameter(torch.ones(shape))
        self.bias = nn.Parameter(torch.zeros(shape))
        self.register_buffer("running_mean", torch.zeros(shape))
        self.register_buffer("running_var", torch.ones(shape))
        self.register_buffer("num_batches_tracked", torch.tensor(0, dtype=torch.long))
        # Reading num_batches_tracked waits for the device, so evaluation looks at it only once.
        self._statistics_exist = False
        self._counts = True

    def forward(self, x: Tensor) -> Tensor:
        check_shape(x, self.weight.shape)
        if not self.training:
            if not (torch.compiler.is_compiling() or self._statistics_exist):
                self._check_statistics()
            return self._normalize(x)
        parts = groups(x, self.group)
        check_batch(parts[0], self.weight.shape)
        if len(parts) == 1:
            y = self._normalize(x)
        else:
            if torch.compiler.is_compiling():
                y, mean, var = ghost_norm_in_one(x, len(parts[0]), self.weight, self.bias, self.eps)
            else:
                normalize = ghost_norm_in_one_call if x.is_cuda else ghost_norm
                y, mean, var = normalize(parts, self.weight, self.bias, self.eps)
            self._move(self.running_mean, mean.mean(0))
            self._move(self.running_var, var.mean(0))
        self._count()
        return y

    def reset_statistics(self) -> None:
        """Forget the kept statistics: mean 0, variance 1, no batches; gamma and beta stay."""
        self.running_mean.zero_()
        self.running_var.fill_(1)
        self.num_batches_tracked.zero_()
        self._statistics_exist = False

    def extra_repr(self) -> str:
        group = "" if self.group is None else f", group={self.group}"
        return f"{self.features}, eps={self.eps}, momentum={self.momentum}{group}"

    @torch.no_grad()
    def _move(self, kept: Tensor, to: Tensor) -> None:
        if kept.dtype == to.dtype:
            kept.lerp_(to, self.momentum)
        else:
            kept.copy_(kept.to(to.dtype).lerp(to, self.momentum))

    def _count(self) -> None:
        if self._counts:
            self.num_batches_tracked.add_(1)

    def _normalize(self, x: Tensor) -> Tensor:
        kept = self.running_mean, self.running_var
        return kernel(x, *kept, self.weight, self.bias, self.training, self.momentum, self.eps)

    def _check_statistics(self) -> None:
        if self.num_batches_tracked == 0:
            raise RuntimeError(
                "no statistics to evaluate with: train the network or call population_statistics"
            )
        self._statistics_exist = True

    def _load_from_state_dict(self, state_dict, prefix, local_metadata, *args, **kwargs) -> None:
        counter = f"{prefix}num_batches_tracked"
        if local_metadata.get("version", 1) < 2 and f"{prefix}running_mean" in state_dict:
            # As torch's does: a dict may be older than the counter. It has statistics, which is what we ask.
            state_dict.setdefault(counter, self.num_batches_tracked.clamp(min=1))
        super()._load_from_state_dict(state_dict, prefix, local_metadata, *args, **kwargs)
        self._statistics_exist = False


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _is_real(value: Any) -> bool:
    return isinstance(value, float | int) and not isinstance(value, bool)


@contextmanager
def counted_together(norms: Sequence[BatchNorm]) -> Iterator[None]:
    """One forward pass in training mode through all of `norms`, once each: their batches are counted in one
    operation at its end, and not in one of each layer, which on a GPU are kernels of their own."""
    for norm in norms:
        norm._counts = False
    try:
        yield
    finally:
        for norm in norms:
            norm._counts = True
    if norms:
        torch._foreach_add_([norm.num_batches_tracked for norm in norms], 1)
