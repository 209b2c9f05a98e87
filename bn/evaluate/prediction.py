"""Class probabilities of images, averaged over crops, for one or several networks."""

from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor, nn

from bn.models.precision import autocast


@torch.no_grad()
def class_probabilities(
    models: Sequence[nn.Module], images: Iterable[Tensor], crops: int, batch: int, precision: str = "float32"
) -> Iterator[Tensor]:
    """Yield (images, models, classes) float64: class probabilities averaged over the `crops` crops per image.

    `images` are blocks (k, 3, S, S) in which the crops of each image are consecutive; an image may span
    several blocks. The networks, in evaluation mode, process `batch` crops at a time, independent of image
    boundaries. Images are yielded in order, once they are complete.
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
    """Yield the rows of `blocks` in order, `size` at a time; the last chunk may be smaller."""
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
    """The most probable classes, (..., classes) -> (..., at most 5); -1 if a probability is not finite."""
    best = probabilities.topk(min(5, probabilities.shape[-1]), dim=-1).indices
    finite = probabilities.isfinite().all(-1, keepdim=True)
    return best.where(finite, -1)
