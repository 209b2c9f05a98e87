"""The optimizer and its rate: L2 is for the weights of linear and convolutional layers alone."""

from collections.abc import Callable

import torch
from torch import nn

from bn.config import Optim


def sgd(model: nn.Module, lr: float, momentum: float = 0.0, weight_decay: float = 0.0) -> torch.optim.SGD:
    """SGD, with classical momentum. `weight_decay` touches neither gamma and beta nor biases.

    On a GPU torch's fused kernels, with the rate on the device, so that a captured step can be given another.
    """
    decayed = {id(m.weight) for m in model.modules() if isinstance(m, (nn.Linear, nn.Conv2d))}
    parameters = list(model.parameters())
    groups = [
        {"params": [p for p in parameters if id(p) in decayed], "weight_decay": weight_decay},
        {"params": [p for p in parameters if id(p) not in decayed], "weight_decay": 0.0},
    ]
    if parameters[0].is_cuda:
        rate = torch.tensor(lr, device=parameters[0].device)
        optimizer = torch.optim.SGD(groups, lr=rate, momentum=momentum, fused=True)
    else:
        optimizer = torch.optim.SGD(groups, lr=lr, momentum=momentum)
    if momentum:
        # The first step would make them, the fused one out of whatever is in memory if it is skipped.
        for parameter in parameters:
            optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    return optimizer


def rate_of(optim: Optim) -> Callable[[int], float]:
    """The rate of step n (from 1): exponential decay from the initial rate, smoothly with each step."""
    batches = optim.batch / optim.lr_batch if optim.lr_batch else 1.0
    exponent = optim.decay.speed * batches / optim.decay.every
    return lambda n: optim.initial_rate * optim.decay.factor ** (exponent * (n - 1))
