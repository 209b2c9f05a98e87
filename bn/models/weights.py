"""The weights W of a network: what L2 shrinks, and what norms are taken of."""

from torch import Tensor, nn


def weights(module: nn.Module) -> list[Tensor]:
    """Those of the linear and convolutional layers in it, in order; gamma, beta and biases are none."""
    return [m.weight for m in module.modules() if isinstance(m, (nn.Linear, nn.Conv2d))]
