"""How small changes of a network's parameters amplify with its depth.

Section 1: "small changes to the network parameters amplify as the network becomes deeper".
"""

import torch
from torch import Tensor

from bn.data.seeds import generator
from bn.models.weights import weights
from bn.observe.observation import Observation, at_nonlinearities, values_at

SHARE = 0.01  # the norm of the change over the norm of the weights


class Amplification(Observation):
    """`observe/amplified/<layer>`: how far a layer's output moves when all weights of the network do.

    Gaussian noise is added to each weight matrix, of 1% of its norm, the same noise at every look. The number
    is the Euclidean norm of the change of the layer's output z, over all examples and units, over the norm of
    z. The output of a layer is the input of the one after it. The weights are put back to the bit.
    """

    @torch.no_grad()
    def observe(self, step: int) -> dict[str, float]:
        own = weights(self.subject.model)
        saved = [weight.clone() for weight in own]
        draws = generator(self.subject.config.seed, "amplification")
        before = self.outputs()
        try:
            for weight in own:
                noise = torch.randn(weight.shape, generator=draws).to(weight.device)
                weight.add_(noise * (SHARE * weight.norm() / noise.norm()))
            after = self.outputs()
        finally:
            for weight, value in zip(own, saved, strict=True):
                weight.copy_(value)
        return {
            f"observe/amplified/{name}": ((after[name] - z).norm() / z.norm()).item()
            for name, z in before.items()
        }

    def outputs(self) -> dict[str, Tensor]:
        """Each layer's output, over all examples."""
        return values_at(self.subject, at_nonlinearities(self.subject, "output"), Tensor.double)
