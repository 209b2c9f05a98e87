"""The network of section 4.1: fully connected, sigmoid, with or without batch normalization."""

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from bn.norm import BatchNorm

NONLINEARITIES = {"sigmoid": nn.Sigmoid, "tanh": nn.Tanh, "relu": nn.ReLU}


class HiddenLayer(nn.Module):
    """z = g(Wu + b), or with batch normalization z = g(BN(Wu)) (section 3.2).

    With BN there is no bias b: the mean subtraction cancels it and beta takes its place.
    """

    def __init__(self, linear: nn.Linear, norm: nn.Module, nonlinearity: nn.Module) -> None:
        super().__init__()
        self.linear = linear  # W: (out, in)
        self.norm = norm
        self.nonlinearity = nonlinearity  # g

    def forward(self, u: Tensor) -> Tensor:
        """(N, in) -> (N, out)."""
        return self.nonlinearity(self.norm(self.linear(u)))


class MLP(nn.Module):
    """Hidden layers and a linear classifier; maps (N, inputs) to (N, classes) logits."""

    def __init__(self, hidden: Sequence[HiddenLayer], classifier: nn.Linear) -> None:
        super().__init__()
        self.hidden = nn.Sequential(*hidden)
        self.classifier = classifier

    @property
    def layers(self) -> list[HiddenLayer]:
        return [layer for layer in self.hidden if isinstance(layer, HiddenLayer)]

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.hidden(x))


def mlp(
    inputs: int = 784,
    hidden: Sequence[int] = (100, 100, 100),
    classes: int = 10,
    *,
    norm: str = "batch",
    nonlinearity: str = "sigmoid",
    init_std: float = 0.1,
    bn_eps: float = 1e-5,
    bn_momentum: float = 0.1,
    generator: torch.Generator | None = None,
) -> MLP:
    """The MNIST network (section 4.1; hidden layers 100, 100, 100).

    `norm` is "batch" or "none", `nonlinearity` one of NONLINEARITIES. All W are Gaussian with standard
    deviation `init_std`, drawn from `generator`; biases and beta start at 0, gamma at 1. The draws of W are
    the same with and without BN. `bn_eps` and `bn_momentum` are those of `bn.norm.BatchNorm`.
    """
    if norm not in ("batch", "none"):
        raise ValueError(f"norm={norm!r}: accepted: 'batch', 'none'")
    sizes = (inputs, *hidden)
    layers = [
        HiddenLayer(
            nn.Linear(fan_in, fan_out, bias=norm == "none"),
            BatchNorm(fan_out, bn_eps, bn_momentum) if norm == "batch" else nn.Identity(),
            NONLINEARITIES[nonlinearity](),
        )
        for fan_in, fan_out in itertools.pairwise(sizes)
    ]
    model = MLP(layers, nn.Linear(sizes[-1], classes))
    for module in model.modules():
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=init_std, generator=generator)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return model
