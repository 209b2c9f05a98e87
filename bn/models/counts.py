"""Parameters and multiply-adds, counted from the network itself: of each row of Figure 5, and in all."""

from typing import NamedTuple

from torch import nn

from bn.models.inception import FIGURE5, MODULES, Inception, InceptionModule, Unit


class Count(NamedTuple):
    """One row of Figure 5, or the classifier, of a network for one image."""

    name: str
    side: int  # of the output, in pixels
    channels: int  # of the output
    parameters: int
    multiply_adds: int


def counts(network: Inception) -> list[Count]:
    """The rows of FIGURE5 and the classifier.

    Multiply-adds are those of convolutions and classifier at inference, where BN is composed into them: each
    weight once for each place of the output. A separable convolution counts as its two parts, depthwise and
    pointwise, though it is computed as one (see `bn.models.separable`). A pool counts nothing.
    """
    layers: dict[str, list[Unit | InceptionModule]] = {
        "conv1": [network.conv1],
        "conv2": [network.conv2_reduce, network.conv2],
    }
    for row, module in zip(MODULES, network.inception_modules, strict=True):
        layers[row.name] = [module]
    channels = 0
    found = []
    for row in FIGURE5:
        modules = layers.get(row.name, [])
        if modules:
            channels = modules[-1].channels
        units = [unit for module in modules for unit in module.modules() if isinstance(unit, Unit)]
        found.append(
            Count(
                row.name,
                network.sides[row.name],
                channels,
                sum(p.numel() for module in modules for p in module.parameters()),
                sum(_weights(unit) * unit.side**2 for unit in units),
            )
        )
    classifier = network.classifier
    parameters = sum(p.numel() for p in classifier.parameters())
    found.append(Count("classifier", 1, classifier.out_features, parameters, classifier.weight.numel()))
    return found


def multiply_adds(model: nn.Module) -> int:
    """Those of one image at inference: of an Inception network by `counts`, else of the linear layers."""
    if isinstance(model, Inception):
        return sum(count.multiply_adds for count in counts(model))
    return sum(module.weight.numel() for module in model.modules() if isinstance(module, nn.Linear))


def _weights(unit: Unit) -> int:
    return sum(m.weight.numel() for m in unit.modules() if isinstance(m, nn.Conv2d))
