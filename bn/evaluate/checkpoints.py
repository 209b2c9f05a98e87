"""Evaluate trained networks: one crop or 144, one network or an ensemble (section 4.2.3)."""

import hashlib
import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import Any

import torch
from torch import nn
from tqdm import tqdm

from bn.config import to_dict
from bn.data.images import EVALUATION, Images, find_pictures, open_images
from bn.data.pictures import Pictures
from bn.evaluate.config import Evaluation
from bn.evaluate.crops import crops_of
from bn.evaluate.networks import device_of, load_networks, take_to
from bn.evaluate.prediction import best_classes, class_probabilities
from bn.evaluate.records import read_record, record_path, summary, write_record, writing
from bn.evaluate.trained import Trained
from bn.run.directory import REPOSITORY
from bn.run.environment import environment
from bn.tasks.precision import precision_on
from bn.train import device_name

WHEREABOUTS = ("root", "feed", "workers")  # of the data, and not what they are


def evaluate_checkpoints(evaluation: Evaluation, chosen: Mapping[str, Any]) -> str:
    """Evaluate, leave a record and say the result in one line; what is on record is only said.

    `chosen` data (what of them is not null) stand in place of the checkpoints' own. UserError if a file, the
    data, or the networks together are not what an evaluation takes.
    """
    began = time.perf_counter()
    device = device_of(evaluation)
    networks, data, statistics = load_networks(evaluation, chosen)
    settings = {
        "crops": evaluation.crops,
        "models": len(networks),
        "statistics": statistics,
        "precision": precision_on(device, evaluation.precision),
    }
    pictures = find_pictures(data[0], training=False)
    subject = {
        **settings,
        "checkpoints": sorted(network.sha256 for network in networks),
        "data": [{k: v for k, v in to_dict(each).items() if k not in WHEREABOUTS} for each in data],
        "pictures": _listing_digest(pictures["val"], data[0].root),
    }
    path = record_path(REPOSITORY / evaluation.output, [network.name for network in networks], subject)
    with writing(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
    if (record := read_record(path)) is not None:
        return f"{summary(record, path)} (of {record['time']}: remove the file to evaluate again)"

    take_to(device, networks, data, statistics, settings["precision"])
    models = [network.model for network in networks]
    with closing(open_images(data[0], EVALUATION, device, pictures)) as images:
        counts = _count(models, images, settings, evaluation.batch, device)
    record = {
        **counts[0],
        **settings,
        "data": to_dict(data[0]),
        "pictures": subject["pictures"],
        "checkpoints": [_described(*each) for each in zip(networks, counts[1:], strict=True)],
        "command": shlex.join(["python", *sys.argv]),
        **environment(),
        "device": {"type": device.type, "name": device_name(device), "threads": torch.get_num_threads()},
        "wall_s": round(time.perf_counter() - began, 3),
    }
    write_record(path, record)
    return summary(record, path)


def _described(network: Trained, counts: Mapping[str, int]) -> dict[str, Any]:
    """A network's part of the record, with what it answers without the others."""
    return {
        "path": str(network.path),
        "sha256": network.sha256,
        "name": network.name,
        "step": network.step,
        **counts,
        "config": network.config and to_dict(network.config),
    }


def _listing_digest(pictures: Pictures, folder: str) -> str:
    """SHA-256 of the validation images' names and labels: whether the same are there as another time."""
    digest = hashlib.sha256(pictures.labels.tobytes())
    root = str(REPOSITORY / folder)
    for name in pictures.names:
        digest.update(name.removeprefix(root).encode(errors="surrogateescape") + b"\0")
    return digest.hexdigest()


def _count(
    models: Sequence[nn.Module], images: Images, settings: Mapping[str, Any], batch: int, device: torch.device
) -> list[dict[str, int]]:
    """The correct answers of the mean of all models' class probabilities, then those of each model."""
    crops, precision = settings["crops"], settings["precision"]
    best = []  # (images, 1 + models, 5)
    with tqdm(
        total=len(images.pictures), unit=" images", disable=None, desc=f"{len(models)} x {crops}",
        dynamic_ncols=True,
    ) as bar:  # fmt: skip
        blocks = crops_of(images, crops, device)
        for probabilities in class_probabilities(models, blocks, crops, batch, precision):
            mean = probabilities.mean(1, keepdim=True)
            best.append(best_classes(torch.cat([mean, probabilities], 1)))
            bar.update(len(probabilities))
    answers = torch.cat(best)
    right = answers == torch.from_numpy(images.pictures.labels).to(device)[:, None, None]
    found = torch.stack([right[..., 0].sum(0), right.any(-1).sum(0), (answers[..., 0] < 0).sum(0)], 1)
    return [
        {"n": len(answers), "top1_correct": top1, "top5_correct": top5, "not_finite": not_finite}
        for top1, top5, not_finite in found.tolist()  # the first wait for the device
    ]
