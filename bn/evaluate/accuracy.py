"""Accuracy at inference, with moving averages and with the statistics of Algorithm 2."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bn.data.mnist import Mnist, Split
from bn.errors import Diverged
from bn.norm import NotFinite, population_statistics
from bn.norm.layers import is_normalization

CHUNK = 500  # examples per forward pass: the activations stay in cache


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """`model` in evaluation mode; on leaving, its training flag is as it was."""
    was_training = model.training
    try:
        model.eval()
        yield
    finally:
        model.train(was_training)


@torch.no_grad()
def accuracy(model: nn.Module, data: Split) -> float:
    """The share of `data` classified correctly, in evaluation mode (so with the stored statistics).

    Exact: correct answers are counted, whatever the size of the last chunk.
    """
    dtype = next(model.parameters()).dtype
    correct = torch.zeros((), dtype=torch.int64, device=data.labels.device)
    with evaluation_mode(model):
        for images, labels in zip(data.images.split(CHUNK), data.labels.split(CHUNK), strict=True):
            correct += (model(images.to(dtype)).argmax(1) == labels).sum()
    return correct.item() / len(data.labels)


def evaluate(model: nn.Module, data: Mnist) -> dict[str, float]:
    """`test/accuracy`, and `validation/accuracy` where examples are held out, with the stored statistics."""
    splits = {"test": data.test, "validation": data.validation}
    return {f"{name}/accuracy": accuracy(model, split) for name, split in splits.items() if split}


@torch.no_grad()
def classify(
    model: nn.Module,
    batches: Iterable[tuple[Tensor, Tensor]],
    total: Callable[[Tensor], Tensor] = lambda mine: mine,
) -> dict[str, float]:
    """`accuracy` (top-1), `accuracy_top5` and `loss` (mean cross-entropy) over batches of images and labels.

    In evaluation mode. Answers are counted, so batches may differ in size; one with a logit that is not
    finite is wrong. The device is waited for once, at the end.

    Of several processes each has some of the batches, maybe none; `total` gives the sum over them of a vector
    that each has. ValueError where there is no image in all.
    """
    totals = torch.zeros(3, dtype=torch.float64)
    count = 0
    with evaluation_mode(model):
        for images, labels in batches:
            logits = model(images).double()
            best = logits.topk(min(5, logits.shape[1]), dim=1).indices == labels[:, None]
            best &= logits.isfinite().all(1, keepdim=True)
            loss = F.cross_entropy(logits, labels, reduction="sum")
            found = torch.stack([best[:, 0].sum().double(), best.sum().double(), loss])
            totals = totals.to(found.device) + found
            count += len(labels)
    totals = total(torch.cat((totals, totals.new_tensor([count]))))
    if totals[-1] == 0:
        raise ValueError("no images to evaluate on")
    top1, top5, loss = (totals[:-1] / totals[-1]).tolist()
    return {"accuracy": top1, "accuracy_top5": top5, "loss": loss}


def evaluate_population(
    model: nn.Module,
    batches: Iterable[Tensor],
    evaluate: Callable[[], dict[str, float]],
    total: Callable[[Tensor], Tensor] = lambda mine: mine,
) -> dict[str, float]:
    """What `evaluate` gives with the population statistics of `batches` (Algorithm 2), `..._population`.

    The moving averages are put back afterwards, so that the saved network is the one that was trained. A
    network without BN has no statistics, and nothing to report. Diverged if the statistics are not finite.
    `total`: of several processes, as `population_statistics` has it.
    """
    if not any(map(is_normalization, model.modules())):
        return {}
    moving = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    try:
        population_statistics(model, batches, total)
        return {f"{name}_population": value for name, value in evaluate().items()}
    except NotFinite as error:
        raise Diverged(str(error)) from error
    finally:
        model.load_state_dict(moving)
