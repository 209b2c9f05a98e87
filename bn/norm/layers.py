"""Find the batch normalization layers of a network, both this package's and torch's."""

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from bn.norm.module import BatchNorm


def is_normalization(module: nn.Module) -> bool:
    return isinstance(module, BatchNorm | _BatchNorm)


def is_plain(module: nn.Module) -> bool:
    """Return whether calling `module` runs only its class's forward: no hooks and no forward of its own."""
    hooks = (
        module._forward_hooks, module._forward_pre_hooks, module._backward_hooks, module._backward_pre_hooks,
    )  # fmt: skip
    return not any(hooks) and "forward" not in vars(module)


def normalization_layers(model: nn.Module) -> dict[str, BatchNorm]:
    """Return the batch normalization layers of `model` by name, each once.

    torch's layers have the tensors of a `BatchNorm` under the same names, but gamma and beta may be None.
    Raises ValueError if there are no such layers, or if one keeps no statistics.
    """
    layers = {name: module for name, module in model.named_modules() if is_normalization(module)}
    if not layers:
        raise ValueError(f"{type(model).__name__} has no batch normalization layer")
    for name, layer in layers.items():
        if layer.running_mean is None:
            raise ValueError(f"{name} keeps no statistics (track_running_stats=False)")
    return layers  # type: ignore[return-value]
