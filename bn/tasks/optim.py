"""Optimizers and the learning rate schedule. Weight decay is for linear and convolutional weights only."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from bn.config import Optim
from bn.config.choices import OPTIMIZERS, load
from bn.models.weights import weights


def build_optimizer(model: nn.Module, optim: Optim) -> torch.optim.Optimizer:
    """Build the optimizer `optim.name` at the initial learning rate."""
    momentum = {"momentum": optim.momentum} if optim.momentum else {}
    return load(OPTIMIZERS[optim.name])(model, optim.initial_rate, weight_decay=optim.l2, **momentum)


def sgd(model: nn.Module, lr: float, momentum: float = 0.0, weight_decay: float = 0.0) -> torch.optim.SGD:
    """SGD with classical momentum. Weight decay does not apply to gamma, beta and biases."""
    optimizer = torch.optim.SGD(
        parameter_groups(model, weight_decay), momentum=momentum, **device_options(model, lr)
    )
    if momentum:
        # As the first step would create it, so that it exists when warm-up steps are undone.
        for parameter in model.parameters():
            optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    return optimizer


def adam(model: nn.Module, lr: float, weight_decay: float = 0.0) -> torch.optim.Adam:
    """Adam (Kingma & Ba 2015) with torch's constants. `weight_decay` is L2, added to the gradient."""
    optimizer = torch.optim.Adam(parameter_groups(model, weight_decay), **device_options(model, lr))
    for parameter in model.parameters():  # as the first step would create it, as for SGD
        steps = torch.zeros((), device=parameter.device if parameter.is_cuda else None)
        optimizer.state[parameter] = {
            "step": steps, "exp_avg": torch.zeros_like(parameter), "exp_avg_sq": torch.zeros_like(parameter),
        }  # fmt: skip
    return optimizer


def adagrad(model: nn.Module, lr: float, weight_decay: float = 0.0) -> torch.optim.Adagrad:
    """Adagrad (Duchi et al. 2011) with torch's constants. It reads its learning rate on the host."""
    return torch.optim.Adagrad(parameter_groups(model, weight_decay), lr=lr)


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Split the parameters of `model` into the weights, with this decay, and all others, without."""
    decayed = {id(weight) for weight in weights(model)}
    parameters = list(model.parameters())
    return [
        {"params": [p for p in parameters if id(p) in decayed], "weight_decay": weight_decay},
        {"params": [p for p in parameters if id(p) not in decayed], "weight_decay": 0.0},
    ]


def device_options(model: nn.Module, lr: float) -> dict[str, Any]:
    """On a GPU, select torch's fused kernels, and store `lr` in a tensor that a captured step reads."""
    device = next(model.parameters()).device
    return {"lr": torch.tensor(lr, device=device), "fused": True} if device.type == "cuda" else {"lr": lr}


def lr_schedule(optim: Optim) -> Callable[[int], float]:
    """Return the learning rate as a function of the step n, from 1: smooth exponential decay."""
    batches = optim.batch / optim.lr_batch if optim.lr_batch else 1.0
    exponent = optim.decay.speed * batches / optim.decay.every
    return lambda n: optim.initial_rate * optim.decay.factor ** (exponent * (n - 1))
