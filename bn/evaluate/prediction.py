"""Class probabilities of images: means over the crops of an image, for one or several networks."""

from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor, nn

from bn.tasks.precision import autocast


@torch.no_grad()
def class_probabilities(
    models: Sequence[nn.Module], images: Iterable[Tensor], crops: int, batch: int, precision: str = "float32"
) -> Iterator[Tensor]:
    """(images, models, classes) float64: the mean of the probabilities of an image's `crops` crops.

    `images` are blocks (k, 3, S, S), in which each image's crops follow one another; an image may lie in
    several blocks. The networks, in evaluation mode, see `batch` crops at a time, whatever images they are
    of, so that an image costs no more than its crops. Yields images in order, as they are complete.
    """
    kept: Tensor | None = None
    for chunk in rechunked(images, batch):
        with autocast(chunk.device, precision):
            logits = [model(chunk) for model in models]
        probabilities = torch.stack([one.double().softmax(1) for one in logits], 1)
        kept = probabilities if kept is None else torch.cat([kept, probabilities])
        complete = len(kept) // crops
        if complete:
            yield kept[: complete * crops].unflatten(0, (complete, crops)).mean(1)
            kept = kept[complete * crops :]


def rechunked(blocks: Iterable[Tensor], size: int) -> Iterator[Tensor]:
    """The rows of `blocks`, in order, `size` at a time; the last may be fewer."""
    held: list[Tensor] = []
    missing = size
    for block in blocks:
        while len(block) >= missing:
            yield torch.cat([*held, block[:missing]])
            block = block[missing:]
            held, missing = [], size
        held.append(block)
        missing -= len(block)
    if missing < size:
        yield torch.cat(held)


def best_classes(probabilities: Tensor) -> Tensor:
    """(..., classes) -> (..., 5): the five most probable classes, or all; -1 if one is not finite."""
    best = probabilities.topk(min(5, probabilities.shape[-1]), dim=-1).indices
    finite = probabilities.isfinite().all(-1, keepdim=True)
    return best.where(finite, -1)
