"""Accuracy at inference, with moving averages or the population statistics of Algorithm 2."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bn.data.mnist import Examples, Mnist
from bn.errors import Diverged
from bn.norm import NotFinite, population_statistics
from bn.norm.layers import is_normalization

CHUNK = 500  # examples per forward pass, so that activations stay in the cache


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Put `model` into evaluation mode, and restore its previous mode on exit."""
    was_training = model.training
    try:
        model.eval()
        yield
    finally:
        model.train(was_training)


@torch.no_grad()
def accuracy(model: nn.Module, data: Examples) -> float:
    """The fraction of `data` classified correctly in evaluation mode, that is with the stored statistics.

    An example with a NaN or infinite logit counts as wrong.
    """
    dtype = next(model.parameters()).dtype
    correct = torch.zeros((), dtype=torch.int64, device=data.labels.device)
    with evaluation_mode(model):
        for images, labels in zip(data.images.split(CHUNK), data.labels.split(CHUNK), strict=True):
            logits = model(images.to(dtype))
            correct += ((logits.argmax(1) == labels) & logits.isfinite().all(1)).sum()
    return correct.item() / len(data.labels)


def evaluate(model: nn.Module, data: Mnist) -> dict[str, float]:
    """`test/accuracy`, and `validation/accuracy` if examples are held out, with the stored statistics."""
    splits = {"test": data.test, "validation": data.validation}
    return {f"{name}/accuracy": accuracy(model, split) for name, split in splits.items() if split}


@torch.no_grad()
def image_metrics(
    model: nn.Module,
    batches: Iterable[tuple[Tensor, Tensor]],
    total: Callable[[Tensor], Tensor] = lambda mine: mine,
) -> dict[str, float]:
    """`accuracy` (top-1), `accuracy_top5` and `loss` (mean cross-entropy) in evaluation mode.

    Batches of images and labels may differ in size. An image with a NaN or infinite logit counts as wrong.
    The device is synchronized once, at the end.

    With several processes, each has a part of the batches, possibly none, and `total` sums a vector over the
    processes. ValueError if there are no images at all.
    """
    totals = torch.zeros(3, dtype=torch.float64)
    count = 0
    with evaluation_mode(model):
        for images, labels in batches:
            logits = model(images).double()
            best = logits.topk(min(5, logits.shape[1]), dim=1).indices == labels[:, None]
            best &= logits.isfinite().all(1, keepdim=True)
            loss = F.cross_entropy(logits, labels, reduction="sum")
            sums = torch.stack([best[:, 0].sum().double(), best.sum().double(), loss])
            totals = totals.to(sums.device) + sums
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
    """The results of `evaluate` with the population statistics of `batches` (Algorithm 2), as `*_population`.

    The moving averages are restored afterwards, so that the saved network is the trained one. The result is
    empty for a network without BN. `total` sums over processes, as in `population_statistics`. Raises
    Diverged if the statistics are not finite.
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
