"""Algorithm 2, steps 8 to 10: population statistics for inference."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import chain

import torch
from torch import Tensor, nn

from bn.norm.algorithm1 import check_batch, groups
from bn.norm.layers import normalization_layers
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
    observed = [_Sums(name, layer) for name, layer in normalization_layers(model).items()]
    passes = 0
    with _as_training_network(model, observed):
        for batch in batches:
            with torch.no_grad():
                model(batch)
            passes += 1
    if passes == 0:
        raise ValueError("no data for population statistics: batches is empty")
    sums = torch.cat([each.sums for each in observed])
    sums_of_all = total(sums).to(sums.device).split([len(each.sums) for each in observed])
    # All are computed before the first is written: either every layer changes or none does.
    population = [each.population(of_all) for each, of_all in zip(observed, sums_of_all, strict=True)]
    for each, (mean, var) in zip(observed, population, strict=True):
        each.layer.running_mean.copy_(mean)
        each.layer.running_var.copy_(var)
        each.layer.num_batches_tracked.clamp_(min=1)


class _Sums:
    """The sums over mini-batches of which one layer's E[x] and Var[x] are made, float64, in one vector:
    m, m - 1, m * mu_B for each feature, and (m - 1) * the unbiased variance.
    """

    def __init__(self, name: str, layer: BatchNorm) -> None:
        self.name = name
        self.layer = layer
        self.group = getattr(layer, "group", None)  # torch's have none
        self.sums = layer.running_mean.new_zeros(2 + 2 * layer.running_mean.numel(), dtype=torch.float64)

    def observe(self, _: nn.Module, args: tuple[Tensor, ...], named: dict[str, Tensor]) -> None:
        """Take in what the layer is about to normalize (a forward pre-hook)."""
        (given,) = (*args, *named.values())
        features = self.layer.running_mean.shape
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
            values, freedom, means, variances = self._parts(self.sums)
            values += m
            freedom += m - 1
            means += m * mean.flatten()
            variances += (m - 1) * var.flatten()

    def population(self, sums: Tensor) -> tuple[Tensor, Tensor]:
        """E[x] and Var[x] that follow from `sums`, in the shape and the type that the layer keeps."""
        values, freedom, means, variances = self._parts(sums)
        if values == 0:
            raise ValueError(f"{self.name} was not reached by any forward pass")
        kept = self.layer.running_mean
        mean = (means / values).view_as(kept).to(kept.dtype)
        var = (variances / freedom).view_as(kept).to(kept.dtype)
        if not (mean.isfinite().all() and var.isfinite().all()):
            raise NotFinite(f"the population statistics of {self.name} are not finite")
        return mean, var

    def _parts(self, sums: Tensor) -> tuple[Tensor, ...]:
        features = self.layer.running_mean.numel()
        return sums.split([1, 1, features, features])


@contextmanager
def _as_training_network(model: nn.Module, observed: list[_Sums]) -> Iterator[None]:
    """`model` with only its BN in training mode, each observed; on leaving all is as before."""
    flags = [(module, module.training) for module in model.modules()]
    # Passes in training mode move the moving averages, which must not end up among the results.
    kept = [(tensor, tensor.clone()) for each in observed for tensor in each.layer.buffers(recurse=False)]
    devices = {t.device for t in chain(model.parameters(), model.buffers()) if t.is_cuda}
    with ExitStack() as stack:
        # Drawing the batches may use random numbers: a loader that shuffles does.
        stack.enter_context(torch.random.fork_rng(devices, device_type="cuda"))
        try:
            # The flags themselves, as train() and eval() are often overridden, to freeze BN say.
            for module, _ in flags:
                module.training = False
            for each in observed:
                each.layer.training = True
                stack.enter_context(each.layer.register_forward_pre_hook(each.observe, with_kwargs=True))
            yield
        finally:
            for module, training in flags:
                module.training = training
            for tensor, value in kept:
                tensor.copy_(value)
