"""The network of section 4.1: fully connected, sigmoid, with or without batch normalization."""

import itertools
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from bn.config import MlpModel
from bn.models.nonlinearity import check_names, nonlinearity
from bn.norm.build import normalization


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


PAPER = MlpModel(
    name="mlp", hidden=(100, 100, 100), norm="batch", nonlinearity="sigmoid", init_std=0.1, bn_eps=1e-5,
    bn_momentum=0.1,
)  # fmt: skip


def mlp(
    inputs: int = 784,
    hidden: Sequence[int] | None = None,
    classes: int = 10,
    *,
    network: MlpModel = PAPER,
    generator: torch.Generator | None = None,
    **changes: Any,
) -> MLP:
    """The MNIST network (section 4.1; hidden layers 100, 100, 100): (N, inputs) to logits (N, classes).

    `network` says what it is made of, by default the paper's with batch normalization, and `changes` what is
    otherwise: any field of `bn.config.MlpModel`, such as norm="none" or nonlinearity="relu". `hidden` are the
    layers' sizes; None: those of `network`.

    All W are Gaussian with standard deviation `init_std`, drawn from `generator`; biases and beta start at 0,
    gamma at 1. The draws of W are the same with and without normalization, which leaves out the biases.

    Raises ValueError for a name that is not accepted, TypeError for a field that there is not.
    """
    network = replace(network, **changes)
    check_names(network)
    sizes = (inputs, *(network.hidden if hidden is None else hidden))
    layers = [
        HiddenLayer(
            nn.Linear(fan_in, fan_out, bias=network.norm == "none"),
            normalization(fan_out, network),
            nonlinearity(network.nonlinearity),
        )
        for fan_in, fan_out in itertools.pairwise(sizes)
    ]
    model = MLP(layers, nn.Linear(sizes[-1], classes))
    for module in model.modules():
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=network.init_std, generator=generator)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return model
