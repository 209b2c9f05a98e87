"""The order of the training examples: for MNIST, where the paper is silent, a permutation each epoch."""

import numpy as np
import torch
from torch import Tensor

from bn.data.seeds import generator
from bn.errors import UserError


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


class ImageOrder:
    """Indices of the mini-batch of any step, shuffled by shard only, within shards too, or completely.

    Section 4.2.1: shuffling within shards "prevents the same examples from always appearing in a mini-batch
    together". (D) Shards are a random partition of the examples, fixed by the seed, into `shard_size` each
    (the last takes what is left). `shuffle` says what is drawn afresh each epoch:

    - "by_shard": the order of the shards. Contents and inner order are fixed, and a smaller last shard stays
      last: with a `shard_size` of whole mini-batches the same examples always meet, and the remainder
      (examples mod batch, the end of the smaller last shard) is never drawn. With any other, mini-batches
      reach into the next shard, another one each epoch: what is within a shard meets again in part only.
    - "within_shards": the order of the shards, and the order within each.
    - "complete": the order of all examples, as in EpochOrder.

    What is left over at an epoch's end, fewer than a mini-batch, is not used; except as said of "by_shard" it
    is another few examples each epoch. Process `rank` of `ranks`, of which `batch` is a multiple, gets its
    consecutive share of each mini-batch. UserError if there are fewer examples than a mini-batch holds.
    """

    def __init__(
        self,
        examples: int,
        batch: int,
        seed: int,
        shuffle: str,
        shard_size: int,
        rank: int = 0,
        ranks: int = 1,
    ) -> None:
        if examples < batch:
            raise UserError(f"optim.batch={batch}: accepted: at most the {examples} training examples")
        self.batches_per_epoch = examples // batch
        self.share = batch // ranks  # examples of this process, of a mini-batch
        self._examples = examples
        self._batch = batch
        self._seed = seed
        self._shuffle = shuffle
        self._full_shards, short = divmod(examples, shard_size)
        self._shards = self._full_shards + (short > 0)
        self._share = slice(rank * batch // ranks, (rank + 1) * batch // ranks)
        self._partition = self._permutation(examples, "shards")
        self._shard_of = np.empty(examples, np.int64)
        self._shard_of[self._partition] = np.arange(examples) // shard_size
        self._epoch = -1
        self._order = np.empty(0, np.int64)

    def __call__(self, n: int) -> tuple[int, np.ndarray]:
        """The epoch, from 0, and the (batch / ranks,) int64 indices of step `n`, from 0."""
        epoch, position = divmod(n, self.batches_per_epoch)
        if epoch != self._epoch:
            self._order = self._order_of(epoch)
            self._epoch = epoch
        return epoch, self._order[position * self._batch : (position + 1) * self._batch][self._share]

    def _order_of(self, epoch: int) -> np.ndarray:
        if self._shuffle == "by_shard":
            examples = self._partition
            place = np.append(self._permutation(self._full_shards, "shard order", epoch), self._full_shards)
        else:
            examples = self._permutation(self._examples, "order", epoch)
            if self._shuffle == "complete":
                return examples
            place = self._permutation(self._shards, "shard order", epoch)
        return examples[np.argsort(place[self._shard_of[examples]], kind="stable")]

    def _permutation(self, count: int, *use: int | str) -> np.ndarray:
        return torch.randperm(count, generator=generator(self._seed, *use)).numpy()
