"""Accuracy on the training examples: how well the network fits them, as opposed to how it generalizes."""

import torch

from bn.data.mnist import Examples
from bn.evaluate.accuracy import accuracy
from bn.observe.observation import Observation


class TrainingAccuracy(Observation):
    """`observe/training_accuracy`: the accuracy with moving averages on all observed examples.

    It is computed at the steps at which the network is evaluated on the test set.
    """

    def steps(self) -> frozenset[int]:
        config = self.subject.config
        return config.evaluate.at.steps(config.length)

    def observe(self, step: int) -> dict[str, float]:
        images, labels = (torch.cat(parts) for parts in zip(*self.subject.batches, strict=True))
        return {"observe/training_accuracy": accuracy(self.subject.network, Examples(images, labels))}
