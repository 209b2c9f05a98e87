"""The network of section 4.1: fully connected layers with sigmoids, with or without BN."""

import itertools
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from bn.config import MlpModel
from bn.config.choices import NONLINEARITIES, load
from bn.config.notation import checked
from bn.norm.build import normalization

Place = Literal["before", "after", "input"]  # of the normalization


class HiddenLayer(nn.Module):
    """z = g(BN(Wu)) (section 3.2), or z = g(Wu + b) without BN.

    With BN before g there is no bias b: the mean subtraction would cancel it, and beta takes its place. With
    the other values of `place` b has an effect: "after" is z = BN(g(Wu + b)), "input" is z = g(W BN(u) + b).
    `dropout` acts on z.
    """

    def __init__(
        self,
        linear: nn.Linear,
        norm: nn.Module,
        nonlinearity: nn.Module,
        place: Place = "before",
        dropout: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.linear = linear  # W: (out, in)
        self.norm = norm
        self.nonlinearity = nonlinearity  # g
        self.place: Place = place
        self.dropout = nn.Identity() if dropout is None else dropout

    def forward(self, u: Tensor) -> Tensor:
        """(N, in) -> (N, out)."""
        if self.place == "input":
            z = self.nonlinearity(self.linear(self.norm(u)))
        elif self.place == "after":
            z = self.norm(self.nonlinearity(self.linear(u)))
        else:
            z = self.nonlinearity(self.norm(self.linear(u)))
        return self.dropout(z)


class MLP(nn.Module):
    """Hidden layers and a linear classifier: maps (N, inputs) to logits (N, classes)."""

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
    """Build the MNIST network of section 4.1, with hidden layers of 100 units: (N, inputs) -> (N, classes).

    `network` is its config, by default the paper's network with batch normalization. `changes` replace fields
    of it (see `bn.config.MlpModel`), such as norm="none" or nonlinearity="relu". `hidden` are the sizes of
    the layers, by default those of `network`.

    All W are drawn from `generator`, Gaussian with standard deviation `init_std`; biases and beta start at 0,
    gamma at 1. W is the same with and without normalization. A layer with normalization before its
    nonlinearity has no bias.

    Raises UserError for an unknown field or a value that is not accepted.
    """
    network = checked(MlpModel, {**vars(network), **changes})
    nonlinearity = load(NONLINEARITIES[network.nonlinearity].constructor)
    sizes = (inputs, *(network.hidden if hidden is None else hidden))
    layers = [
        HiddenLayer(
            nn.Linear(fan_in, fan_out, bias=network.norm == "none" or network.norm_place != "before"),
            normalization(fan_in if network.norm_place == "input" else fan_out, network),
            nonlinearity(),
            network.norm_place,
            nn.Dropout(network.dropout) if network.dropout else None,
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
