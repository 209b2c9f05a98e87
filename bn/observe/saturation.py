"""How much of each layer is saturated: where its nonlinearity is flat, and passes (almost) no gradient.

Section 1: as |x| grows the sigmoid's derivative tends to zero, and training slows down. An output counts as
saturated where the derivative is below a tenth of its maximum (`bn.config.choices.NONLINEARITIES`): a
sigmoid's below 0.026 or above 0.974, a ReLU's of 0.
"""

from torch import Tensor

from bn.config.choices import NONLINEARITIES
from bn.observe.observation import Observation, at_nonlinearities, values_at


class Saturation(Observation):
    """`observe/saturated/<layer>`: the share of its outputs, from 0 to 1, over all units and examples."""

    def observe(self, step: int) -> dict[str, float]:
        saturated = NONLINEARITIES[self.subject.config.model.nonlinearity].saturated
        assert saturated is not None  # the schema refuses the others

        def share(z: Tensor) -> Tensor:  # of a mini-batch; all are of one size
            return saturated(z).double().mean()[None]

        found = values_at(self.subject, at_nonlinearities(self.subject, "output"), share)
        return {f"observe/saturated/{name}": shares.mean().item() for name, shares in found.items()}
