"""Trained networks classify the user's own images: the most probable classes of each."""

import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from bn.config import ImageData
from bn.data.class_names import class_names
from bn.data.crops import central_box
from bn.data.jpeg import BrokenImage, open_picture
from bn.data.photometric import normalize
from bn.data.resize import central_crop
from bn.data.tree import EXTENSIONS
from bn.errors import UserError, printable
from bn.evaluate.config import Evaluation
from bn.evaluate.crops import multicrop
from bn.evaluate.networks import load_networks, take_to
from bn.evaluate.prediction import class_probabilities
from bn.tasks.precision import precision_on
from bn.train import take_device


class Answer(NamedTuple):
    """The most probable classes of an image, the most probable first; none where one is NaN or inf."""

    image: str
    classes: list[tuple[int, str | None, float]]  # index, name, probability

    def line(self) -> str:
        shown = [f"{name or f'class {index}'} {100 * share:.1f}%" for index, name, share in self.classes]
        return printable(f"{self.image}: {', '.join(shown) or 'the probabilities are NaN or inf'}")

    def json(self) -> str:
        keys = ("class", "name", "probability")
        found = [dict(zip(keys, each, strict=True)) for each in self.classes]
        return json.dumps({"image": self.image, "classes": found})


def classify_images(evaluation: Evaluation, chosen: Mapping[str, Any]) -> None:
    """Print a line for each of the images, in their order, as soon as it is known.

    An image that cannot be read is named on stderr with the reason, and at the end a UserError counts them;
    of an image alone the UserError gives the reason itself.
    UserError, before anything is printed, of what `load_networks` refuses, or where there are no images.
    """
    paths = find_images(evaluation.images or ())
    device = take_device(evaluation.device)
    if evaluation.threads is not None:
        torch.set_num_threads(evaluation.threads)
    networks, data, statistics = load_networks(evaluation, chosen)
    precision = precision_on(device, evaluation.precision)
    take_to(device, networks, data, statistics, precision)
    names = class_names(data[0])
    read: list[str] = []
    broken = 0

    def crops() -> Iterator[Tensor]:
        nonlocal broken
        for path in paths:
            try:
                block = _crops(path, data[0], evaluation.crops, device)
            except BrokenImage as error:
                line = f"{path}: cannot be read: {error.reason}"
                if len(paths) == 1:
                    raise UserError(line) from error
                broken += 1
                print(printable(line), file=sys.stderr, flush=True)
                continue
            read.append(path)
            yield block

    models = [network.model for network in networks]
    done = 0
    for probabilities in class_probabilities(models, crops(), evaluation.crops, evaluation.batch, precision):
        for of_image in probabilities.mean(1).cpu():
            answer = Answer(read[done], _most_probable(of_image, evaluation.top, names))
            print(answer.json() if evaluation.json else answer.line(), flush=True)
            done += 1
    if broken:
        raise UserError(f"{broken} of {len(paths)} images cannot be read")


def find_images(given: Sequence[str]) -> list[str]:
    """These files, and the images in these folders and the folders in them, by name. UserError if none."""
    found = []
    for path in map(Path, given):
        if path.is_dir():
            inside = (
                os.path.join(folder, file)
                for folder, _, files in os.walk(path)
                for file in files
                if file.lower().endswith(EXTENSIONS) and not file.startswith(".")
            )
            images = sorted(inside)
            if not images:
                raise UserError(f"images={path}: holds no images; accepted: {', '.join(EXTENSIONS)}")
            found += images
        elif path.exists():
            found.append(str(path))
        else:
            raise UserError(f"images={path}: no such file or folder")
    return found


def _crops(path: str, data: ImageData, crops: int, device: torch.device) -> Tensor:
    """(crops, 3, S, S) of one image as the network sees them, as in an evaluation. BrokenImage."""
    picture = open_picture(path)
    if crops == 1:
        box = central_box(*picture.size, data.resize, data.crop)
        pixels = central_crop(picture, box, data.crop)[None].to(device).float()
        return normalize(pixels)
    decoded, _ = picture.pixels()
    whole = torch.from_numpy(np.ascontiguousarray(decoded.transpose(2, 0, 1)))
    return normalize(multicrop(whole.to(device), data.resize, data.crop))


def _most_probable(
    probabilities: Tensor, top: int, names: Sequence[str] | None
) -> list[tuple[int, str | None, float]]:
    if not probabilities.isfinite().all():
        return []
    best = probabilities.topk(min(top, len(probabilities)))
    shares: list[float] = best.values.tolist()
    indices: list[int] = best.indices.tolist()
    return [
        (index, names[index] if names else None, share) for share, index in zip(shares, indices, strict=True)
    ]
