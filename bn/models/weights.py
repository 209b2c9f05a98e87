"""The weights W of a network, to which weight decay applies."""

from torch import Tensor, nn


def weights(module: nn.Module) -> list[Tensor]:
    """Return the weights of the linear and convolutional layers, in order; no gamma, beta or biases."""
    return [m.weight for m in module.modules() if isinstance(m, (nn.Linear, nn.Conv2d))]
