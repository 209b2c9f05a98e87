"""Count parameters and multiply-adds of a network, for each row of Figure 5 and in total."""

from typing import NamedTuple

from torch import nn

from bn.models.inception import FIGURE5, MODULES, Inception, InceptionModule, Unit


class Count(NamedTuple):
    """The counts of one row of Figure 5, or of the classifier, for one image."""

    name: str
    side: int  # of the output, in pixels
    channels: int  # of the output
    parameters: int
    multiply_adds: int


def counts(network: Inception) -> list[Count]:
    """Return the counts of the rows of FIGURE5 and of the classifier.

    Multiply-adds are those of the convolutions and the classifier at inference, with BN folded into them:
    each weight counts once per output location. A separable convolution counts as its depthwise and
    pointwise parts, although it is computed as one (see `bn.models.separable`). Pools count as zero.
    """
    layers: dict[str, list[Unit | InceptionModule]] = {
        "conv1": [network.conv1],
        "conv2": [network.conv2_reduce, network.conv2],
    }
    for row, module in zip(MODULES, network.inception_modules, strict=True):
        layers[row.name] = [module]
    channels = 0
    rows = []
    for row in FIGURE5:
        modules = layers.get(row.name, [])
        channels = modules[-1].channels if modules else channels  # a pool keeps them
        units = [unit for module in modules for unit in module.modules() if isinstance(unit, Unit)]
        parameters = sum(p.numel() for module in modules for p in module.parameters())
        multiply_adds = sum(_weights(unit) * unit.side**2 for unit in units)
        rows.append(Count(row.name, network.sides[row.name], channels, parameters, multiply_adds))
    classifier = network.classifier
    parameters = sum(p.numel() for p in classifier.parameters())
    return [*rows, Count("classifier", 1, classifier.out_features, parameters, classifier.weight.numel())]


def multiply_adds(model: nn.Module) -> int:
    """Return the multiply-adds for one image at inference: `counts` for Inception, else the linear layers."""
    if isinstance(model, Inception):
        return sum(count.multiply_adds for count in counts(model))
    return sum(module.weight.numel() for module in model.modules() if isinstance(module, nn.Linear))


def _weights(unit: Unit) -> int:
    return sum(m.weight.numel() for m in unit.modules() if isinstance(m, nn.Conv2d))
