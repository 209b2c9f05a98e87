"""The order of the training examples: a fresh permutation each epoch (an assumption: the paper is silent)."""

import torch
from torch import Tensor

from bn.seeds import generator


class EpochOrder:
    """Indices of the mini-batch of any step, as a function of (seed, step) alone.

    Nothing is drawn from a running stream, so a run resumed at step k continues with the same
    mini-batches. An epoch is `examples // batch` full mini-batches; what is left over of its permutation
    (another few examples each epoch) is not used, so that every mini-batch has `batch` examples.
    """

    def __init__(self, examples: int, batch: int, seed: int, device: torch.device) -> None:
        self.examples = examples
        self.batch = batch
        self.seed = seed
        self.device = device
        self.batches_per_epoch = examples // batch
        self._epoch = -1
        self._permutation = torch.empty(0)

    def __call__(self, step: int) -> Tensor:
        """(batch,) int64 indices for the mini-batch of `step`, counted from 0."""
        epoch, position = divmod(step, self.batches_per_epoch)
        if epoch != self._epoch:
            order = generator(self.seed, "order", epoch)
            self._permutation = torch.randperm(self.examples, generator=order).to(self.device)
            self._epoch = epoch
        return self._permutation[position * self.batch : (position + 1) * self.batch]
