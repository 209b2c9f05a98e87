"""The shapes of the distributions in a layer: skewed, heavy-tailed, sparse.

Section 3.2 normalizes Wu + b and not u, since it "is more likely to have a symmetric, non-sparse
distribution, that is more Gaussian". Section 5 says the same of the inputs to the nonlinearities.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from bn.models.inception import Unit
from bn.models.mlp import HiddenLayer
from bn.observe.observation import Observation, undisturbed

SMALL = 0.01  # of a unit's largest magnitude: less counts as zero


class Shapes(Observation):
    """`observe/<measure>/<layer>/<place>`: means over the units of a layer, over all examples.

    The measures: `skewness` and `kurtosis` are the magnitudes of a unit's skewness and excess kurtosis, both
    0 for a Gaussian; `sparsity` is the share, from 0 to 1, of its values below SMALL times its largest
    magnitude. The places: `affine` (Wu + b), `input` (to the nonlinearity) and `output` (of the layer,
    normalized if BN comes last; before dropout). A unit that is 0 for all examples is wholly sparse. A
    constant unit has no skewness and no kurtosis, and is left out of their means. The network is in training
    mode.
    """

    @torch.no_grad()
    def observe(self, step: int) -> dict[str, float]:
        found: dict[str, list[Tensor]] = {}
        hooks: list[RemovableHandle] = []
        for name, layer in self.subject.layers.items():
            affine = layer.linear if isinstance(layer, HiddenLayer) else layer.conv
            comes_last = layer.norm if _normalized_last(layer) else layer.nonlinearity
            for place, module, which in (
                ("affine", affine, _output),
                ("input", layer.nonlinearity, _input),
                ("output", comes_last, _output),
            ):
                batches = found[f"{name}/{place}"] = []
                hooks.append(module.register_forward_hook(_keeping(batches, which)))
        try:
            with undisturbed(self.subject.model):
                for images, _ in self.subject.batches:
                    self.subject.network(images)
        finally:
            for hook in hooks:
                hook.remove()
        return {
            f"observe/{measure}/{where}": value
            for where, batches in found.items()
            for measure, value in shapes(torch.cat(batches)).items()
        }


def shapes(values: Tensor) -> dict[str, float]:
    """The measures of `values` (N, units), as `Shapes` has them; NaN for what no unit has."""
    wide = values.double()
    centred = wide - wide.mean(0)
    var = centred.square().mean(0)
    varying = wide.amax(0) > wide.amin(0)
    xhat = centred[:, varying] / var[varying].sqrt()
    cubed = xhat**3
    magnitude = wide.abs()
    small = (magnitude < SMALL * magnitude.amax(0)) | (magnitude == 0)
    return {
        "skewness": cubed.mean(0).abs().mean().item(),
        "kurtosis": ((cubed * xhat).mean(0) - 3).abs().mean().item(),
        "sparsity": small.double().mean().item(),
    }


def _normalized_last(layer: HiddenLayer | Unit) -> bool:
    return isinstance(layer, HiddenLayer) and layer.place == "after"


def _input(args: tuple[Tensor, ...], _: Tensor) -> Tensor:
    return args[0]


def _output(_: tuple[Tensor, ...], output: Tensor) -> Tensor:
    return output


def _keeping(
    batches: list[Tensor], which: Callable[[tuple[Tensor, ...], Tensor], Tensor]
) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
    """A forward hook that keeps what `which` takes of a module's input and output, (N, units)."""

    def hook(_: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
        by_unit = which(args, output).movedim(1, -1)
        batches.append(by_unit.reshape(-1, by_unit.shape[-1]))

    return hook
