"""Finds the batch normalization layers of a network, this package's and torch's own; tells hooked modules."""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from bn.norm.module import BatchNorm


class Normalization(NamedTuple):
    """One layer and its tensors, which are the layer's own and not copies."""

    module: BatchNorm | _BatchNorm
    gamma: Tensor
    beta: Tensor
    mean: Tensor
    var: Tensor
    batches: Tensor

    def statistics(self) -> tuple[Tensor, Tensor, Tensor]:
        return self.mean, self.var, self.batches


def is_normalization(module: nn.Module) -> bool:
    return isinstance(module, BatchNorm | _BatchNorm)


def is_plain(module: nn.Module) -> bool:
    """Whether a call of `module` is the forward of its class and no more: no hooks, no forward of its own."""
    hooks = (
        module._forward_hooks, module._forward_pre_hooks, module._backward_hooks, module._backward_pre_hooks,
    )  # fmt: skip
    return not any(hooks) and "forward" not in vars(module)


def normalization_layers(model: nn.Module) -> dict[str, Normalization]:
    """Return the batch normalization layers of `model` by name, each once.

    Raises ValueError if there are none or one of them keeps no statistics.
    """
    layers = {}
    for name, module in model.named_modules():
        if isinstance(module, BatchNorm | _BatchNorm):
            mean, var, batches = module.running_mean, module.running_var, module.num_batches_tracked
            if mean is None or var is None or batches is None:
                raise ValueError(f"{name} keeps no statistics (track_running_stats=False)")
            gamma = torch.ones_like(mean) if module.weight is None else module.weight
            beta = torch.zeros_like(mean) if module.bias is None else module.bias
            layers[name] = Normalization(module, gamma, beta, mean, var, batches)
    if not layers:
        raise ValueError(f"{type(model).__name__} has no batch normalization layer")
    return layers
