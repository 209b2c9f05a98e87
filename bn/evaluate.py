"""Accuracy of a network at inference."""

import torch
from torch import nn

from bn.data.mnist import Split

CHUNK = 500  # examples per forward pass: the activations stay in cache


@torch.no_grad()
def accuracy(model: nn.Module, data: Split) -> float:
    """The share of `data` classified correctly, in evaluation mode (so with the stored statistics).

    Exact: correct answers are counted, whatever the size of the last chunk. The training flags return to what
    they were.
    """
    dtype = next(model.parameters()).dtype
    was_training = model.training
    model.eval()
    try:
        correct = torch.zeros((), dtype=torch.int64, device=data.labels.device)
        for images, labels in zip(data.images.split(CHUNK), data.labels.split(CHUNK), strict=True):
            correct += (model(images.to(dtype)).argmax(1) == labels).sum()
    finally:
        model.train(was_training)
    return correct.item() / len(data.labels)
