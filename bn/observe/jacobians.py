"""Singular values of the Jacobians of an MLP's layers.

Section 3.3 considers the map between two consecutive layers with normalized inputs, and conjectures that BN
may lead its Jacobian to have singular values close to 1.
"""

import torch
from torch import Tensor, nn

from bn.models.mlp import HiddenLayer
from bn.observe.observation import Observation, training_mode

EXAMPLES = 5  # of the first mini-batch
SMALLEST = torch.finfo(torch.float32).tiny  # lower bound on singular values, since their logarithm is taken
PERCENTILES = (10, 50, 90)


class Jacobians(Observation):
    """Singular values of the map from the inputs of one nonlinearity to those of the next.

    For the first layer the map starts at the image. The network is in training mode, and the Jacobian is that
    with respect to an example's own input: with BN the example also moves the mini-batch's statistics, while
    the other examples stay fixed. Over the singular values of five examples,
    `observe/jacobian_log/<layer>` is the mean absolute natural logarithm, 0 if all are 1, and
    `observe/jacobian_p10/<layer>`, `_p50` and `_p90` are percentiles. Not available for convolutions.
    """

    def observe(self, step: int) -> dict[str, float]:
        images, _ = self.subject.batches[0]
        numbers: dict[str, float] = {}
        with training_mode(self.subject.model):
            x, nonlinearity = images, nn.Identity()
            for name, layer in self.subject.layers.items():
                assert isinstance(layer, HiddenLayer)
                between = nn.Sequential(nonlinearity, layer.linear, layer.norm)
                examples = range(min(EXAMPLES, len(x)))
                jacobians = torch.stack([own_jacobian(between, x, i) for i in examples]).double()
                values = torch.linalg.svdvals(jacobians).flatten()
                numbers |= summary(name, values.clamp(min=SMALLEST))
                with torch.no_grad():
                    x, nonlinearity = between(x), layer.nonlinearity
        return numbers


def own_jacobian(function: nn.Module, x: Tensor, i: int) -> Tensor:
    """Return d output_i / d input_i for example `i` of a mini-batch (N, in), of shape (out, in)."""

    def output_of(own: Tensor) -> Tensor:
        return function(torch.cat([x[:i], own[None], x[i + 1 :]]))[i]

    return torch.autograd.functional.jacobian(output_of, x[i])  # type: ignore[return-value]


def summary(name: str, values: Tensor) -> dict[str, float]:
    levels = torch.tensor(PERCENTILES, dtype=values.dtype, device=values.device) / 100
    percentiles = values.quantile(levels).tolist()
    return {
        f"observe/jacobian_log/{name}": values.log().abs().mean().item(),
        **{f"observe/jacobian_p{p}/{name}": value for p, value in zip(PERCENTILES, percentiles, strict=True)},
    }
