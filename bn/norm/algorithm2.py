"""Algorithm 2, steps 8 to 10: population statistics for inference."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import chain

import torch
from torch import Tensor, nn

from bn.norm.algorithm1 import check_batch, groups
from bn.norm.layers import Normalization, normalization_layers
from bn.norm.module import BatchNorm


class NotFinite(ValueError):
    """A statistic is NaN or inf: the network diverged. The caller made no mistake."""


def population_statistics(
    model: nn.Module, batches: Iterable[Tensor], total: Callable[[Tensor], Tensor] = lambda mine: mine
) -> None:
    """Replace, in place, the moving averages of each BN in `model` by population statistics.

    Algorithm 2 passes several training mini-batches B of m values through the training network
    (each BN normalizes by its mini-batch, so later ones see what they saw in training) and takes

        E[x] = E_B[mu_B],    Var[x] = m / (m - 1) * E_B[sigma2_B].

    Var[x] is the mean of the unbiased *batch* variances. It is not the pooled variance around
    E[x], which would add how much the means of the batches vary.

    For mini-batches of m_B values that differ in size, such as a shorter last one, the means are
    weighted by m_B and the unbiased variances by their degrees of freedom m_B - 1. Both estimates
    are unbiased with any weights; with these each value counts once in E[x], and each variance
    for as much as it is worth (it scatters as 1 / (m_B - 1) for normal x). For equal sizes the
    weights cancel, and what remains is Algorithm 2. A layer that a forward pass uses more than
    once averages over all its uses, as its moving averages do. To a `BatchNorm` with a `group`
    each group is a mini-batch.

    `batches` yields inputs, each passed as `model(batch)`. Any inputs do: those of a new
    distribution adapt the network to it, as the paper's conclusion proposes. Where several
    processes train together, each passes its own, as many as the others; `total` gives the sum over them
    of a vector that each has, and all end with the same statistics. BN means both
    `BatchNorm` and torch's own layers; with torch's SyncBatchNorm, mini-batches are this
    process's. Only these layers are in training mode meanwhile: dropout is off, as the
    inference network has none. Sums are in float64.

    Afterwards `num_batches_tracked` is at least 1, so that evaluation is allowed. All else is as
    before: training flags, parameters, gradients, torch's random state. If anything fails, here
    or in `batches`, the statistics too are bit for bit as before.

    Raises ValueError if there is no BN in the model, one that keeps no statistics, one that no
    forward pass reaches (hooks do not see into a compiled model: pass the original), no data, a
    batch (group) with one value per channel, one that is no whole number of groups; NotFinite,
    a ValueError, for statistics that are not finite.
    """
    layers = normalization_layers(model)
    sums = {name: _Sums(name, layer) for name, layer in layers.items()}
    passes = 0
    with _as_training_network(model, sums):
        for batch in batches:
            with torch.no_grad():
                model(batch)
            passes += 1
    if passes == 0:
        raise ValueError("no data for population statistics: batches is empty")
    _add_up(list(sums.values()), total)
    # All are computed before the first is written: either every layer changes or none does.
    population = {name: sums[name].population() for name in layers}
    for name, layer in layers.items():
        mean, var = population[name]
        layer.mean.copy_(mean)
        layer.var.copy_(var)
        layer.batches.clamp_(min=1)


class _Sums:
    """The sums over mini-batches of which one layer's E[x] and Var[x] are made, in float64."""

    def __init__(self, name: str, layer: Normalization) -> None:
        self.name = name
        self.layer = layer
        self.group = layer.module.group if isinstance(layer.module, BatchNorm) else None
        self.values = 0
        self.freedom = 0
        self.mean = torch.zeros_like(layer.mean, dtype=torch.float64)
        self.var = torch.zeros_like(layer.var, dtype=torch.float64)

    def observe(self, _: nn.Module, args: tuple[Tensor, ...], named: dict[str, Tensor]) -> None:
        """Take in what the layer is about to normalize (a forward pre-hook)."""
        (given,) = (*args, *named.values())
        features = self.mean.shape
        try:
            batches = groups(given, self.group)
            check_batch(batches[0], features)
        except ValueError as error:
            raise ValueError(f"{self.name}: {error}") from None
        per_activation = len(features) > 1
        for x in batches:
            dims = [0] if per_activation else [0, *range(2, x.dim())]
            m = x.numel() // features.numel()
            var, mean = torch.var_mean(x.double(), dims, correction=1)
            self.values += m
            self.freedom += m - 1
            self.mean += m * mean
            self.var += (m - 1) * var

    def population(self) -> tuple[Tensor, Tensor]:
        """E[x] and Var[x], in the type in which the layer keeps them."""
        if self.values == 0:
            raise ValueError(f"{self.name} was not reached by any forward pass")
        mean = (self.mean / self.values).to(self.layer.mean.dtype)
        var = (self.var / self.freedom).to(self.layer.var.dtype)
        if not (mean.isfinite().all() and var.isfinite().all()):
            raise NotFinite(f"the population statistics of {self.name} are not finite")
        return mean, var


def _add_up(sums: list[_Sums], total: Callable[[Tensor], Tensor]) -> None:
    """The sums of all processes, in place of this one's."""
    counts = sums[0].mean.new_tensor([(each.values, each.freedom) for each in sums])
    parts = [counts, *(each.mean for each in sums), *(each.var for each in sums)]
    sum_of_all = total(torch.cat([part.flatten() for part in parts])).to(counts.device)
    counts, *parts = sum_of_all.split([part.numel() for part in parts])
    means, variances = parts[: len(sums)], parts[len(sums) :]
    for each, mean, var, count in zip(sums, means, variances, counts.view(-1, 2).tolist(), strict=True):
        each.mean, each.var = mean.view_as(each.mean), var.view_as(each.var)
        each.values, each.freedom = map(int, count)


@contextmanager
def _as_training_network(model: nn.Module, sums: dict[str, _Sums]) -> Iterator[None]:
    """`model` with only its BN in training mode, each observed; on leaving all is as before."""
    flags = [(module, module.training) for module in model.modules()]
    # Passes in training mode move the moving averages, which must not end up among the results.
    statistics = [t for each in sums.values() for t in each.layer.statistics()]
    kept = [(tensor, tensor.clone()) for tensor in statistics]
    devices = {t.device for t in chain(model.parameters(), model.buffers()) if t.is_cuda}
    with ExitStack() as stack:
        # Drawing the batches may use random numbers: a loader that shuffles does.
        stack.enter_context(torch.random.fork_rng(devices, device_type="cuda"))
        try:
            # The flags themselves, as train() and eval() are often overridden, to freeze BN say.
            for module, _ in flags:
                module.training = False
            for each in sums.values():
                each.layer.module.training = True
                stack.enter_context(
                    each.layer.module.register_forward_pre_hook(each.observe, with_kwargs=True)
                )
            yield
        finally:
            for module, training in flags:
                module.training = training
            for tensor, value in kept:
                tensor.copy_(value)
