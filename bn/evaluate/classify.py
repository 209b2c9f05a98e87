"""Classification of the user's own images: prints the most probable classes of each."""

import dataclasses
import json
import re
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from bn.config import ImageData
from bn.data.datasets import FolderDataset
from bn.data.images import EVALUATION, open_loader
from bn.data.tree import EXTENSIONS, folders
from bn.errors import UserError, printable
from bn.evaluate.config import Evaluation
from bn.evaluate.crops import crops_of
from bn.evaluate.networks import load_networks, prepare_networks, set_up_device
from bn.evaluate.prediction import class_probabilities
from bn.files import REPOSITORY
from bn.models.precision import precision_on


def classify_images(evaluation: Evaluation, chosen: Mapping[str, Any]) -> None:
    """Print one line per image, in order.

    UserError as in `load_networks` or if there are no images, before anything is printed; and for the first
    image that cannot be read.
    """
    paths = find_images(evaluation.images or ())
    device = set_up_device(evaluation)
    networks, (data, *others), statistics = load_networks(evaluation, chosen)
    precision = precision_on(device, evaluation.precision)
    prepare_networks(networks, (data, *others), device, statistics, precision)
    models = [network.model for network in networks]
    names = class_names(data)
    dataset = FolderDataset(Path(), paths, labels=np.zeros(len(paths), np.int64))
    data = dataclasses.replace(data, feed="stream")  # which accepts images of any size
    with closing(open_loader(data, EVALUATION, device, {"val": dataset})) as loader:
        crops = crops_of(loader, evaluation.crops, device)
        found = class_probabilities(models, crops, evaluation.crops, evaluation.batch, precision)
        each = (of_image for probabilities in found for of_image in probabilities.mean(1).cpu())
        for path, of_image in zip(paths, each, strict=True):
            best = _most_probable(of_image, evaluation.top, names)
            print(_as_json(path, best) if evaluation.json else _as_line(path, best), flush=True)


def find_images(given: Sequence[str]) -> list[str]:
    """List the given files and the images in the given folders, recursively. UserError if there are none."""
    found = []
    for path in map(Path, given):
        inside = sorted(str(file) for file in path.rglob("*") if _is_image(file))
        if not path.exists():
            raise UserError(f"images={path}: no such file or folder")
        if path.is_dir() and not inside:
            raise UserError(f"images={path}: contains no images; accepted: {', '.join(EXTENSIONS)}")
        found += inside or [str(path)]
    return found


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in EXTENSIONS and not path.name.startswith(".")


def _most_probable(
    probabilities: Tensor, top: int, names: Sequence[str] | None
) -> list[tuple[int, str | None, float]]:
    """Index, name and probability of the most probable classes; empty if a probability is NaN or inf."""
    if not probabilities.isfinite().all():
        return []
    shares, classes = probabilities.topk(min(top, len(probabilities)))
    best = zip(classes.tolist(), shares.tolist(), strict=True)
    return [(k, names[int(k)] if names else None, share) for k, share in best]


def _as_line(path: str, best: Sequence[tuple[int, str | None, float]]) -> str:
    """For example "photo.jpg: cat 71.0%, dog 20.3%"."""
    shown = [f"{name or f'class {k}'} {100 * share:.1f}%" for k, name, share in best]
    return printable(f"{path}: {', '.join(shown) or 'the probabilities are NaN or inf'}")


def _as_json(path: str, best: Sequence[tuple[int, str | None, float]]) -> str:
    keys = ("class", "name", "probability")
    return json.dumps({"image": path, "classes": [dict(zip(keys, each, strict=True)) for each in best]})


def class_names(data: ImageData) -> Sequence[str] | None:
    """The name of each class, in the order of the labels, or None if the data set has none.

    These are the names of the class folders. For ImageNet without folders, or with WordNet ids as names, they
    are torchvision's, which are in the order of the ids; for CIFAR-10 without folders, CIFAR-10's.
    """
    names: Sequence[str] = ()
    for folder in (REPOSITORY / data.root / split for split in ("train", "val")):
        if not names and folder.is_dir():
            names = folders(folder)
    wordnet = all(re.fullmatch(r"n\d{8}", name) for name in names)
    if data.name == "imagenet" and data.classes == 1000 and wordnet:
        from torchvision.models import ResNet18_Weights  # a slow import

        names = ResNet18_Weights.IMAGENET1K_V1.meta["categories"]
    elif data.name == "cifar10" and not names:
        names = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
    return names if len(names) == data.classes else None
