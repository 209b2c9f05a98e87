"""Accuracy of a network at inference, with the moving averages and with Algorithm 2's statistics."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from bn.data.mnist import Mnist, Split
from bn.norm import BatchNorm, population_statistics

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


def evaluate(model: nn.Module, data: Mnist) -> dict[str, float]:
    """`test/accuracy`, and `validation/accuracy` where examples are held out, with the stored statistics."""
    splits = {"test": data.test, "validation": data.validation}
    return {f"{name}/accuracy": accuracy(model, split) for name, split in splits.items() if split}


def evaluate_population(model: nn.Module, data: Mnist, batches: Iterable[Tensor]) -> dict[str, float]:
    """`test/accuracy_population`, ...: with the population statistics of `batches` (Algorithm 2).

    The moving averages are put back afterwards, so that the saved network is the one that was trained. A
    network without BN has no statistics, and nothing to report.
    """
    if not any(isinstance(module, BatchNorm) for module in model.modules()):
        return {}
    moving = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    population_statistics(model, batches)
    found = {f"{name}_population": value for name, value in evaluate(model, data).items()}
    model.load_state_dict(moving)
    return found
