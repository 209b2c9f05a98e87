"""Algorithm 1 as a module, with the moving averages of section 3.1."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from bn.norm.algorithm1 import check_batch, check_shape, groups, kernel
from bn.norm.ghost import ghost_norm, ghost_norm_fusible, ghost_norm_one_call


class BatchNorm(nn.Module):
    """Batch normalization, y = gamma * xhat + beta, to be placed just before the nonlinearity.

    In training mode (Algorithm 1) xhat = (x - mu_B) / sqrt(sigma2_B + eps), with the mean and variance of the
    mini-batch. In evaluation mode (Algorithm 2, step 11) the moving averages E[x] and Var[x] replace them,
    and each output depends on its own input alone.

    `features` is an int C or a tuple:

    - C: input (N, C) or (N, C, H, W); one (gamma, beta) per channel, statistics over the batch and all
      locations (section 3.2).
    - a tuple such as (C, H, W): input (N, C, H, W); one (gamma, beta) per activation, statistics over the
      batch alone. (C,) is the same as C.

    With `group` g, training divides a mini-batch of N into N / g groups of g consecutive examples and
    normalizes each by its own mean and variance, with the same bits as if the group came alone (on a GPU and
    within torch.compile, to rounding). A large mini-batch then trains as the paper's many workers of 32
    examples each did. The moving averages are updated once a call, by the mean of the groups' means and
    unbiased variances. None means a single group. Evaluation ignores groups.

    Conventions:

    - The *biased* variance (over m) normalizes, as in Algorithm 1; the *unbiased* variance (over m - 1)
      enters the moving average, as in Algorithm 2.
    - `momentum` is torch's: average = (1 - momentum) * average + momentum * batch. (TensorFlow and Caffe call
      1 - momentum the momentum or decay.)
    - Initially gamma = 1, beta = 0, E[x] = 0, Var[x] = 1.
    - A call in training mode updates the moving averages even if gradients are disabled.

    Parameters and buffers have torch's names, shapes and types: `weight` (gamma), `bias` (beta),
    `running_mean` (E[x]), `running_var` (Var[x]) and `num_batches_tracked`. State dicts of the per-channel
    form are interchangeable with those of torch.nn.BatchNorm1d and BatchNorm2d. As there, an older one may
    lack `num_batches_tracked`, which then counts as at least 1.

    The moving averages track the network while it trains. For the final network `population_statistics`
    replaces them with those of Algorithm 2.

    Raises ValueError if the input's shape does not fit, or in training mode if it does not divide into whole
    groups or a group has one value per channel; the moving averages are then unchanged. Raises RuntimeError
    in evaluation mode while no statistics exist (`num_batches_tracked` is 0), except within torch.compile,
    where values cannot be inspected.
    """

    _version = 2  # torch's: state dicts of version 1, or of none, may lack num_batches_tracked
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
        # Reading num_batches_tracked synchronizes with the device, so evaluation checks it only once.
        self._statistics_exist = False
        self._counts_batches = True

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
                y, mean, var = ghost_norm_fusible(x, len(parts[0]), self.weight, self.bias, self.eps)
            else:
                normalize = ghost_norm_one_call if x.is_cuda else ghost_norm
                y, mean, var = normalize(parts, self.weight, self.bias, self.eps)
            self._update(self.running_mean, mean.mean(0))
            self._update(self.running_var, var.mean(0))
        self._count_batch()
        return y

    def reset_statistics(self) -> None:
        """Reset the moving averages to mean 0, variance 1 and no batches. Keep gamma and beta."""
        self.running_mean.zero_()
        self.running_var.fill_(1)
        self.num_batches_tracked.zero_()
        self._statistics_exist = False

    def extra_repr(self) -> str:
        group = "" if self.group is None else f", group={self.group}"
        return f"{self.features}, eps={self.eps}, momentum={self.momentum}{group}"

    @torch.no_grad()
    def _update(self, average: Tensor, batch: Tensor) -> None:
        if average.dtype == batch.dtype:
            average.lerp_(batch, self.momentum)
        else:
            average.copy_(average.to(batch.dtype).lerp(batch, self.momentum))

    def _count_batch(self) -> None:
        if self._counts_batches:
            self.num_batches_tracked.add_(1)

    def _normalize(self, x: Tensor) -> Tensor:
        averages = self.running_mean, self.running_var
        return kernel(x, *averages, self.weight, self.bias, self.training, self.momentum, self.eps)

    def _check_statistics(self) -> None:
        if self.num_batches_tracked == 0:
            raise RuntimeError(
                "no statistics to evaluate with: train the network or call population_statistics"
            )
        self._statistics_exist = True

    def _load_from_state_dict(self, state_dict, prefix, local_metadata, *args, **kwargs) -> None:
        counter = f"{prefix}num_batches_tracked"
        if local_metadata.get("version", 1) < 2 and f"{prefix}running_mean" in state_dict:
            # As torch does: the state dict is older than the counter, but it has statistics.
            state_dict.setdefault(counter, self.num_batches_tracked.clamp(min=1))
        super()._load_from_state_dict(state_dict, prefix, local_metadata, *args, **kwargs)
        self._statistics_exist = False


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _is_real(value: Any) -> bool:
    return isinstance(value, float | int) and not isinstance(value, bool)


@contextmanager
def count_batches_at_once(norms: Sequence[BatchNorm]) -> Iterator[None]:
    """Wrap a training-mode forward pass that calls each of `norms` once, and count their batches on exit.

    One operation increments all counters; on a GPU, one per layer would each be a kernel of its own.
    """
    for norm in norms:
        norm._counts_batches = False
    try:
        yield
    finally:
        for norm in norms:
            norm._counts_batches = True
    if norms:
        torch._foreach_add_([norm.num_batches_tracked for norm in norms], 1)
