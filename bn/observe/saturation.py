"""How much of each layer is saturated: where its nonlinearity is flat, and passes (almost) no gradient.

Section 1: as |x| grows the sigmoid's derivative tends to zero, and training slows down. What counts as
saturated `bn.choices.NONLINEARITIES` says: a sigmoid's output below 0.05 or above 0.95, a ReLU's of 0.
"""

import torch
from torch import Tensor

from bn.choices import NONLINEARITIES
from bn.observe.observation import Observation, undisturbed


class Saturation(Observation):
    """`observe/saturated/<layer>`: the share of its outputs, from 0 to 1, over all units and examples."""

    @torch.no_grad()
    def observe(self, step: int) -> dict[str, float]:
        saturated = NONLINEARITIES[self.subject.config.model.nonlinearity].saturated
        assert saturated is not None  # the schema refuses the others
        layers = self.subject.layers
        found: dict[str, list[Tensor]] = {name: [] for name in layers}

        def keep(name: str):
            def hook(_module, _inputs, z: Tensor) -> None:
                found[name].append(saturated(z).double().mean())

            return hook

        hooks = [layer.nonlinearity.register_forward_hook(keep(name)) for name, layer in layers.items()]
        try:
            with undisturbed(self.subject.model):
                for images, _ in self.subject.batches:
                    self.subject.network(images)
        finally:
            for hook in hooks:
                hook.remove()
        if not layers:
            return {}
        shares = torch.stack([torch.stack(each).mean() for each in found.values()])  # batches are of one size
        return {
            f"observe/saturated/{name}": share for name, share in zip(layers, shares.tolist(), strict=True)
        }
