"""The gap between the training network and the inference network.

Section 3.1: in training an example's output depends on the other examples of its mini-batch; at inference,
with the population statistics, on the example alone. The two agree if a mini-batch is a good sample.
"""

import torch
from torch import Tensor

from bn.errors import Diverged
from bn.norm import NotFinite, population_statistics
from bn.observe.observation import Observation, training_mode


class PopulationGap(Observation):
    """Compares the class probabilities p in training mode with q, those with Algorithm 2's statistics.

    All are computed on the observed examples, in mini-batches of the training size.
    `observe/population_gap/probabilities` is the total variation distance sum |p - q| / 2, from 0 to 1,
    averaged over examples; `observe/population_gap/classes` is the share of examples whose most probable
    class differs. Raises Diverged if the statistics are not finite.
    """

    @torch.no_grad()
    def observe(self, step: int) -> dict[str, float]:
        batches = [images for images, _ in self.subject.batches]
        if not batches:
            return {}
        with training_mode(self.subject.model):
            p = self._probabilities(batches)
            try:
                population_statistics(self.subject.network, batches)
            except NotFinite as error:
                raise Diverged(str(error)) from error
            self.subject.model.eval()
            q = self._probabilities(batches)
        distance = (p - q).abs().sum(1).mean() / 2
        different = (p.argmax(1) != q.argmax(1)).double().mean()
        return {
            "observe/population_gap/probabilities": distance.item(),
            "observe/population_gap/classes": different.item(),
        }

    def _probabilities(self, batches: list[Tensor]) -> Tensor:
        """Return the class probabilities, (examples, classes) float64."""
        return torch.cat([self.subject.network(images).double().softmax(1) for images in batches])
