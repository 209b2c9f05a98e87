"""Algorithm 2, steps 8 to 10: the population statistics that inference uses."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import chain

import torch
from torch import Tensor, nn

from bn.norm.algorithm1 import check_batch, groups
from bn.norm.layers import normalization_layers
from bn.norm.module import BatchNorm


class NotFinite(ValueError):
    """A population statistic is NaN or inf: the network has diverged; the arguments were valid."""


def population_statistics(
    model: nn.Module, batches: Iterable[Tensor], total: Callable[[Tensor], Tensor] = lambda sums: sums
) -> None:
    """Replace the moving averages of each BN in `model`, in place, by population statistics.

    Algorithm 2 passes several training mini-batches B of m values each through the training network, in which
    each BN normalizes by its mini-batch, and averages their statistics:

        E[x] = E_B[mu_B],    Var[x] = m / (m - 1) * E_B[sigma2_B].

    Var[x] is the mean of the unbiased *batch* variances. It is not the pooled variance around E[x], which
    also contains the variance of the batch means.

    If mini-batches differ in size, such as a shorter last one, mu_B is weighted by the number of its values
    m_B, and the unbiased variance by its degrees of freedom m_B - 1: each value then counts once in E[x], and
    each variance in proportion to its precision (for normal x its own variance is proportional to
    1 / (m_B - 1)). The estimates are unbiased with any weights. For equal sizes the weights cancel, which
    leaves Algorithm 2. A layer that is called several times in a forward pass averages over all calls, as its
    moving averages do. Each group of a `BatchNorm` with a `group` counts as a mini-batch.

    `batches` yields inputs, each passed as `model(batch)`. Inputs of a new distribution adapt the network to
    it, as the paper's conclusion proposes. With several processes, each passes its own batches, the same
    number in each, and `total` sums a vector over the processes; all obtain the same statistics. BN means
    `BatchNorm` and torch's own layers; the mini-batches of torch's SyncBatchNorm are those of this process.
    Only BN layers run in training mode: dropout is off, as in the inference network. Sums are in float64.

    Afterwards `num_batches_tracked` is at least 1, which allows evaluation. Training flags, parameters,
    gradients and torch's random state are unchanged. On any error, in `batches` too, the statistics also stay
    bit for bit as they were.

    Raises ValueError if the model has no BN, if a BN keeps no statistics, if no forward pass reaches it
    (hooks do not see into a compiled model: pass the original), if there are no batches, if a batch (or
    group) has one value per channel, or if a batch does not divide into whole groups. Raises NotFinite, a
    ValueError, if a statistic is not finite.
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
    totals = total(sums).to(sums.device).split([len(each.sums) for each in observed])
    # Compute all before writing any: either every layer changes or none does.
    population = [each.population(layer_total) for each, layer_total in zip(observed, totals, strict=True)]
    for each, (mean, var) in zip(observed, population, strict=True):
        each.layer.running_mean.copy_(mean)
        each.layer.running_var.copy_(var)
        each.layer.num_batches_tracked.clamp_(min=1)


class _Sums:
    """The sums over mini-batches that determine one layer's E[x] and Var[x], in one float64 vector.

    Its parts are the sums of m, of m - 1, and for each feature of m * mu_B and (m - 1) * unbiased variance.
    """

    def __init__(self, name: str, layer: BatchNorm) -> None:
        self.name = name
        self.layer = layer
        self.group = getattr(layer, "group", None)  # torch's layers have no groups
        self.sums = layer.running_mean.new_zeros(2 + 2 * layer.running_mean.numel(), dtype=torch.float64)

    def observe(self, _: nn.Module, args: tuple[Tensor, ...], named: dict[str, Tensor]) -> None:
        """Add the statistics of the layer's input to the sums (a forward pre-hook)."""
        (layer_input,) = (*args, *named.values())
        features = self.layer.running_mean.shape
        try:
            batches = groups(layer_input, self.group)
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
        """Return E[x] and Var[x] from `sums`, in the shape and dtype of the layer's buffers."""
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
    """Observe the BN layers of `model` in training mode, all else in evaluation mode; restore it on exit."""
    flags = [(module, module.training) for module in model.modules()]
    # Forward passes in training mode change the moving averages.
    saved = [(tensor, tensor.clone()) for each in observed for tensor in each.layer.buffers(recurse=False)]
    devices = {t.device for t in chain(model.parameters(), model.buffers()) if t.is_cuda}
    with ExitStack() as stack:
        # A loader that shuffles draws random numbers.
        stack.enter_context(torch.random.fork_rng(devices, device_type="cuda"))
        try:
            # Set the flags directly: train() and eval() are often overridden, for example to freeze BN.
            for module, _ in flags:
                module.training = False
            for each in observed:
                each.layer.training = True
                stack.enter_context(each.layer.register_forward_pre_hook(each.observe, with_kwargs=True))
            yield
        finally:
            for module, training in flags:
                module.training = training
            for tensor, value in saved:
                tensor.copy_(value)
