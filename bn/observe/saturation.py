"""How much of each layer is saturated: where its nonlinearity is flat, and passes (almost) no gradient.

Section 1: as |x| grows the sigmoid's derivative tends to zero, and training slows down. An output counts as
saturated where the derivative is below a tenth of its maximum (`bn.config.choices.NONLINEARITIES`): a
sigmoid's below 0.026 or above 0.974, a ReLU's of 0.
"""

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from bn.config.choices import NONLINEARITIES
from bn.observe.observation import Observation, pass_examples


class Saturation(Observation):
    """`observe/saturated/<layer>`: the share of its outputs, from 0 to 1, over all units and examples."""

    def observe(self, step: int) -> dict[str, float]:
        saturated = NONLINEARITIES[self.subject.config.model.nonlinearity].saturated
        assert saturated is not None  # the schema refuses the others
        found: dict[str, list[Tensor]] = {name: [] for name in self.subject.layers}

        def keep(name: str, nonlinearity: nn.Module) -> RemovableHandle:
            def hook(_module, _inputs, z: Tensor) -> None:
                found[name].append(saturated(z).double().mean())

            return nonlinearity.register_forward_hook(hook)

        pass_examples(self.subject, keep)
        if not found:
            return {}
        shares = torch.stack([torch.stack(each).mean() for each in found.values()])  # batches are of one size
        return {
            f"observe/saturated/{name}": share for name, share in zip(found, shares.tolist(), strict=True)
        }
