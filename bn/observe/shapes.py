"""The shapes of the distributions in a layer: their skewness, kurtosis and sparsity.

Section 3.2 normalizes Wu + b rather than u, since it "is more likely to have a symmetric, non-sparse
distribution, that is more Gaussian". Section 5 says the same of the inputs to the nonlinearities.
"""

import torch
from torch import Tensor

from bn.models.mlp import HiddenLayer
from bn.observe.observation import Observation, Place, by_unit, values_at

SMALL = 0.01  # values below this share of a unit's largest magnitude count as zero


class Shapes(Observation):
    """`observe/<measure>/<layer>/<place>`: the mean over a layer's units of a measure over all examples.

    Measures: `skewness` and `kurtosis` are the magnitudes of a unit's skewness and excess kurtosis, both 0
    for a Gaussian; `sparsity` is the share, from 0 to 1, of its values below SMALL times its largest
    magnitude. Places: `affine` (Wu + b), `input` (to the nonlinearity) and `output` (of the layer, normalized
    if BN comes last; before dropout). A unit that is 0 for all examples has sparsity 1. Constant units are
    left out of the means of skewness and kurtosis. The network is in training mode.
    """

    @torch.no_grad()
    def observe(self, step: int) -> dict[str, float]:
        places: dict[str, Place] = {}
        for name, layer in self.subject.layers.items():
            normalized_last = isinstance(layer, HiddenLayer) and layer.place == "after"
            places |= {
                f"{name}/affine": (layer.linear if isinstance(layer, HiddenLayer) else layer.conv, "output"),
                f"{name}/input": (layer.nonlinearity, "input"),
                f"{name}/output": (layer.norm if normalized_last else layer.nonlinearity, "output"),
            }
        return {
            f"observe/{measure}/{where}": value
            for where, values in values_at(self.subject, places, by_unit).items()
            for measure, value in shapes(values).items()
        }


def shapes(values: Tensor) -> dict[str, float]:
    """Return the measures of `values` (N, units), as in `Shapes`. A measure that no unit has is NaN."""
    wide = values.double()
    centerd = wide - wide.mean(0)
    var = centerd.square().mean(0)
    varying = wide.amax(0) > wide.amin(0)
    xhat = centerd[:, varying] / var[varying].sqrt()
    cubed = xhat**3
    magnitude = wide.abs()
    small = (magnitude < SMALL * magnitude.amax(0)) | (magnitude == 0)
    return {
        "skewness": cubed.mean(0).abs().mean().item(),
        "kurtosis": ((cubed * xhat).mean(0) - 3).abs().mean().item(),
        "sparsity": small.double().mean().item(),
    }
