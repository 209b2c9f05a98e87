"""Saturation: the share of each layer's outputs where the nonlinearity is flat and passes almost no gradient.

Section 1: as |x| grows the sigmoid's derivative tends to zero, and training slows down. An output counts as
saturated if the derivative is below a tenth of its maximum (`bn.config.choices.NONLINEARITIES`): for a
sigmoid below 0.026 or above 0.974, for a ReLU at 0.
"""

from torch import Tensor

from bn.config.choices import NONLINEARITIES
from bn.observe.observation import Observation, at_nonlinearities, values_at


class Saturation(Observation):
    """`observe/saturated/<layer>`: the share of saturated outputs over all units and examples, 0 to 1."""

    def observe(self, step: int) -> dict[str, float]:
        saturated = NONLINEARITIES[self.subject.config.model.nonlinearity].saturated
        assert saturated is not None  # the schema refuses other nonlinearities

        def share(z: Tensor) -> Tensor:  # of one mini-batch; all have the same size
            return saturated(z).double().mean()[None]

        found = values_at(self.subject, at_nonlinearities(self.subject, "output"), share)
        return {f"observe/saturated/{name}": shares.mean().item() for name, shares in found.items()}
