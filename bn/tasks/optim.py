"""Optimizers and the learning rate schedule. Weight decay is for linear and convolutional weights only."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from bn.config import Optim
from bn.config.choices import OPTIMIZERS, load
from bn.models.weights import weights


def build_optimizer(model: nn.Module, optim: Optim) -> torch.optim.Optimizer:
    """Build the optimizer `optim.name` at the initial learning rate."""
    momentum = {"momentum": optim.momentum} if optim.momentum else {}
    return load(OPTIMIZERS[optim.name])(model, optim.initial_rate, weight_decay=optim.l2, **momentum)


def sgd(model: nn.Module, lr: float, momentum: float = 0.0, weight_decay: float = 0.0) -> torch.optim.SGD:
    """SGD with classical momentum. Weight decay does not apply to gamma, beta and biases."""
    options = {"lr": lr_on(model, lr), "momentum": momentum, **fused_option(model)}
    optimizer = torch.optim.SGD(parameter_groups(model, weight_decay), **options)
    if momentum:
        # As the first step would create it, so that it exists when warm-up steps are undone.
        for parameter in model.parameters():
            optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    return optimizer


def adam(model: nn.Module, lr: float, weight_decay: float = 0.0) -> torch.optim.Adam:
    """Adam (Kingma & Ba 2015) with torch's constants. `weight_decay` is L2, added to the gradient."""
    options = {"lr": lr_on(model, lr), **fused_option(model)}
    optimizer = torch.optim.Adam(parameter_groups(model, weight_decay), **options)
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


def lr_on(model: nn.Module, lr: float) -> float | Tensor:
    """Return `lr`, on a GPU as a tensor there, so that it can be changed in a captured step."""
    device = next(model.parameters()).device
    return torch.tensor(lr, device=device) if device.type == "cuda" else lr


def fused_option(model: nn.Module) -> dict[str, Any]:
    """Select torch's fused kernels on a GPU."""
    return {"fused": True} if next(model.parameters()).is_cuda else {}


def lr_schedule(optim: Optim) -> Callable[[int], float]:
    """Return the learning rate as a function of the step n, from 1: smooth exponential decay."""
    batches = optim.batch / optim.lr_batch if optim.lr_batch else 1.0
    exponent = optim.decay.speed * batches / optim.decay.every
    return lambda n: optim.initial_rate * optim.decay.factor ** (exponent * (n - 1))
