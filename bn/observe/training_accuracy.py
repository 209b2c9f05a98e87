"""Accuracy on training examples: how much a network has fitted them, and not what they are examples of."""

import torch

from bn.data.mnist import Examples
from bn.evaluate.accuracy import accuracy
from bn.observe.observation import Observation


class TrainingAccuracy(Observation):
    """`observe/training_accuracy`: of the inference network, with its moving averages, on all examples.

    At the steps at which the network is evaluated on the test set.
    """

    def steps(self) -> frozenset[int]:
        config = self.subject.config
        return config.evaluate.at.steps(config.length)

    def observe(self, step: int) -> dict[str, float]:
        images, labels = (torch.cat(parts) for parts in zip(*self.subject.batches, strict=True))
        return {"observe/training_accuracy": accuracy(self.subject.network, Examples(images, labels))}
