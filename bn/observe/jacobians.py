"""Singular values of the Jacobians of an MLP's layers.

Section 3.3 considers two consecutive layers with normalized inputs and the map between them, and conjectures
that BN may lead the Jacobian of this map to have singular values close to 1.
"""

import torch
from torch import Tensor, nn

from bn.models.mlp import HiddenLayer
from bn.observe.observation import Observation, undisturbed

EXAMPLES = 5  # of the first mini-batch
LEAST = torch.finfo(torch.float32).tiny  # what a smaller singular value counts as
PERCENTILES = (10, 50, 90)


class Jacobians(Observation):
    """Of the map from the inputs to a nonlinearity to those of the next one; to the first, from the image.

    The network is in training mode. The Jacobian is that of an example's own input: with BN the example
    moves the mini-batch's statistics, and the other examples stay. Over the singular values of five examples:
    `observe/jacobian_log/<layer>` is the mean of the absolute natural logarithm, 0 where all are 1, and
    `observe/jacobian_p10/<layer>`, `_p50` and `_p90` are percentiles. Not for convolutions.
    """

    def observe(self, step: int) -> dict[str, float]:
        images, _ = self.subject.batches[0]
        found: dict[str, float] = {}
        with undisturbed(self.subject.model):
            x, nonlinearity = images, nn.Identity()
            for name, layer in self.subject.layers.items():
                assert isinstance(layer, HiddenLayer)
                between = nn.Sequential(nonlinearity, layer.linear, layer.norm)
                examples = range(min(EXAMPLES, len(x)))
                jacobians = torch.stack([own_jacobian(between, x, i) for i in examples]).double()
                values = torch.linalg.svdvals(jacobians).flatten()
                found |= summary(name, values.clamp(min=LEAST))
                with torch.no_grad():
                    x, nonlinearity = between(x), layer.nonlinearity
        return found


def own_jacobian(function: nn.Module, x: Tensor, i: int) -> Tensor:
    """Of the output of example `i` of a mini-batch (N, in) with respect to its own input: (out, in)."""

    def of_example(own: Tensor) -> Tensor:
        return function(torch.cat([x[:i], own[None], x[i + 1 :]]))[i]

    return torch.autograd.functional.jacobian(of_example, x[i])  # type: ignore[return-value]


def summary(name: str, values: Tensor) -> dict[str, float]:
    levels = torch.tensor(PERCENTILES, dtype=values.dtype, device=values.device) / 100
    shown = values.quantile(levels).tolist()
    return {
        f"observe/jacobian_log/{name}": values.log().abs().mean().item(),
        **{f"observe/jacobian_p{p}/{name}": value for p, value in zip(PERCENTILES, shown, strict=True)},
    }
