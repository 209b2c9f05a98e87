"""The order of the training examples. (D) MNIST is shuffled completely in each epoch."""

import numpy as np
import torch
from torch import Tensor

from bn.data.seeds import generator
from bn.errors import UserError


class EpochOrder:
    """Maps a step to the indices of its mini-batch, as a pure function of (seed, step).

    No generator state is kept, so a run resumed at step k continues with the same mini-batches. An epoch has
    `examples // batch` full mini-batches; the rest of its permutation, which differs in each epoch, is not
    used.
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
        """The indices (batch,) int64 of the mini-batch of `step`, counted from 0."""
        epoch, position = divmod(step, self.batches_per_epoch)
        if epoch != self._epoch:
            order = generator(self.seed, "order", epoch)
            self._permutation = torch.randperm(self.examples, generator=order).to(self.device)
            self._epoch = epoch
        return self._permutation[position * self.batch : (position + 1) * self.batch]


class ImageOrder:
    """Maps a step to the indices of its mini-batch, shuffled by shard, within shards, or completely.

    Section 4.2.1: shuffling within shards "prevents the same examples from always appearing in a mini-batch
    together". (D) Shards are a random partition of the examples, fixed by the seed, with `shard_size`
    examples each (the last may be smaller). `shuffle` selects what is redrawn in each epoch:

    - "by_shard": the order of the shards. The content and order of each shard are fixed, and a smaller last
      shard stays last. If `shard_size` is a multiple of the mini-batch, the same examples always appear
      together, and the last (examples mod batch) examples of the last shard are never used. Otherwise
      mini-batches extend into the next shard, which differs in each epoch, and only parts of them recur.
    - "within_shards": the order of the shards, and the order within each shard.
    - "complete": the order of all examples, as in EpochOrder.

    Examples left over at the end of an epoch, fewer than a mini-batch, are not used; except with "by_shard"
    they differ in each epoch. Process `rank` of `ranks`, which divides `batch`, gets its consecutive share of
    each mini-batch. UserError if there are fewer examples than `batch`.
    """

    def __init__(
        self, examples: int, batch: int, seed: int, shuffle: str, shard_size: int,
        rank: int = 0, ranks: int = 1,
    ) -> None:  # fmt: skip
        if examples < batch:
            raise UserError(f"optim.batch={batch}: accepted: at most the {examples} training examples")
        self.batches_per_epoch = examples // batch
        self.share = batch // ranks  # examples of a mini-batch for this process
        self.seed = seed
        self._examples = examples
        self._batch = batch
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
        """The epoch, from 0, and the indices (batch / ranks,) int64 of step `n`, counted from 0."""
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
        return torch.randperm(count, generator=generator(self.seed, *use)).numpy()
