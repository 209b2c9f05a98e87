"""Amplification of small parameter changes with depth.

Section 1: "small changes to the network parameters amplify as the network becomes deeper".
"""

import torch
from torch import Tensor

from bn.data.seeds import generator
from bn.models.weights import weights
from bn.observe.observation import Observation, at_nonlinearities, values_at

RELATIVE_NOISE = 0.01  # norm of the noise over norm of the weights


class Amplification(Observation):
    """`observe/amplified/<layer>`: the relative change of a layer's output z when all weights change by 1%.

    To each weight matrix W it adds Gaussian noise of norm 0.01 |W|, the same noise at every observation. The
    number is |change of z| / |z|, Euclidean norms over all examples and units. Each layer receives the
    changed output of the layer before it. The weights are restored bit for bit.
    """

    @torch.no_grad()
    def observe(self, step: int) -> dict[str, float]:
        matrices = weights(self.subject.model)
        saved = [weight.clone() for weight in matrices]
        draws = generator(self.subject.config.seed, "amplification")
        before = self.outputs()
        try:
            for weight in matrices:
                noise = torch.randn(weight.shape, generator=draws).to(weight.device)
                weight.add_(noise * (RELATIVE_NOISE * weight.norm() / noise.norm()))
            after = self.outputs()
        finally:
            for weight, value in zip(matrices, saved, strict=True):
                weight.copy_(value)
        return {
            f"observe/amplified/{name}": ((after[name] - z).norm() / z.norm()).item()
            for name, z in before.items()
        }

    def outputs(self) -> dict[str, Tensor]:
        """Return each layer's output, over all examples."""
        return values_at(self.subject, at_nonlinearities(self.subject, "output"), Tensor.double)
