"""How far the network of the training is from the network of the inference.

Section 3.1: in training an example's output depends on the other examples of its mini-batch, at inference,
with the population's statistics, on the example alone. The two agree where a mini-batch is a good sample.
"""

import torch
from torch import Tensor

from bn.errors import Diverged
from bn.norm import NotFinite, population_statistics
from bn.observe.observation import Observation, undisturbed


class PopulationGap(Observation):
    """Compares the class probabilities, p in training mode and q with Algorithm 2's statistics.

    Both, and the statistics, are over the observed examples, in mini-batches as the network trains with.
    `observe/population_gap/probabilities`: the total variation distance sum |p - q| / 2, from 0 to 1, mean of
    the examples. `observe/population_gap/classes`: the share of examples whose most probable class differs.
    Diverged if the statistics are not finite.
    """

    @torch.no_grad()
    def observe(self, step: int) -> dict[str, float]:
        batches = [images for images, _ in self.subject.batches]
        if not batches:
            return {}
        with undisturbed(self.subject.model):
            p = self._probabilities(batches)
            try:
                population_statistics(self.subject.network, batches)
            except NotFinite as error:
                raise Diverged(str(error)) from error
            self.subject.model.eval()
            q = self._probabilities(batches)
        distance = (p - q).abs().sum(1).mean() / 2
        others = (p.argmax(1) != q.argmax(1)).double().mean()
        return {
            "observe/population_gap/probabilities": distance.item(),
            "observe/population_gap/classes": others.item(),
        }

    def _probabilities(self, batches: list[Tensor]) -> Tensor:
        """(examples, classes) float64."""
        return torch.cat([self.subject.network(images).double().softmax(1) for images in batches])
