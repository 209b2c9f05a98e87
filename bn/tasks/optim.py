"""The optimizer and its rate: L2 is for the weights of linear and convolutional layers alone."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from bn.config import Optim
from bn.config.choices import OPTIMIZERS, load
from bn.models.weights import weights


def build_optimizer(model: nn.Module, optim: Optim) -> torch.optim.Optimizer:
    """That of `optim.name`, at the initial rate."""
    more = {"momentum": optim.momentum} if optim.momentum else {}
    return load(OPTIMIZERS[optim.name])(model, optim.initial_rate, weight_decay=optim.l2, **more)


def sgd(model: nn.Module, lr: float, momentum: float = 0.0, weight_decay: float = 0.0) -> torch.optim.SGD:
    """SGD, with classical momentum. `weight_decay` touches neither gamma and beta nor biases."""
    options = {"lr": rate_on(model, lr), "momentum": momentum, **fused_on(model)}
    optimizer = torch.optim.SGD(parameter_groups(model, weight_decay), **options)
    if momentum:
        # As the first step would make them: steps on trial are put back.
        for parameter in model.parameters():
            optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    return optimizer


def adam(model: nn.Module, lr: float, weight_decay: float = 0.0) -> torch.optim.Adam:
    """Adam (Kingma & Ba 2015) with torch's constants. `weight_decay` is L2: part of the gradient."""
    options = {"lr": rate_on(model, lr), **fused_on(model)}
    optimizer = torch.optim.Adam(parameter_groups(model, weight_decay), **options)
    for parameter in model.parameters():  # as the first step would make them: steps on trial are put back
        steps = torch.zeros((), device=parameter.device if parameter.is_cuda else None)
        optimizer.state[parameter] = {
            "step": steps, "exp_avg": torch.zeros_like(parameter), "exp_avg_sq": torch.zeros_like(parameter),
        }  # fmt: skip
    return optimizer


def adagrad(model: nn.Module, lr: float, weight_decay: float = 0.0) -> torch.optim.Adagrad:
    """Adagrad (Duchi et al. 2011) with torch's constants; on a GPU too it reads its rate on the host."""
    return torch.optim.Adagrad(parameter_groups(model, weight_decay), lr=lr)


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """All parameters of `model`: the weights, with this decay, and the others, without."""
    decayed = {id(weight) for weight in weights(model)}
    parameters = list(model.parameters())
    return [
        {"params": [p for p in parameters if id(p) in decayed], "weight_decay": weight_decay},
        {"params": [p for p in parameters if id(p) not in decayed], "weight_decay": 0.0},
    ]


def rate_on(model: nn.Module, lr: float) -> float | Tensor:
    """The rate: on a GPU a tensor there, so that a captured step can be given another."""
    device = next(model.parameters()).device
    return torch.tensor(lr, device=device) if device.type == "cuda" else lr


def fused_on(model: nn.Module) -> dict[str, Any]:
    """On a GPU torch's fused kernels."""
    return {"fused": True} if next(model.parameters()).is_cuda else {}


def rate_of(optim: Optim) -> Callable[[int], float]:
    """The rate of step n (from 1): exponential decay from the initial rate, smoothly with each step."""
    batches = optim.batch / optim.lr_batch if optim.lr_batch else 1.0
    exponent = optim.decay.speed * batches / optim.decay.every
    return lambda n: optim.initial_rate * optim.decay.factor ** (exponent * (n - 1))
