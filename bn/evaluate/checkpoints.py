"""Evaluation of trained networks: one crop or 144, one network or an ensemble (section 4.2.3)."""

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
from bn.data.datasets import ImageDataset
from bn.data.images import EVALUATION, ImageLoader, find_datasets, open_loader
from bn.evaluate.config import Evaluation
from bn.evaluate.crops import crops_of
from bn.evaluate.networks import load_networks, prepare_networks, set_up_device
from bn.evaluate.prediction import best_classes, class_probabilities
from bn.evaluate.records import read_record, record_path, summary, write_errors, write_record
from bn.evaluate.trained import Trained
from bn.files import REPOSITORY
from bn.models.precision import precision_on
from bn.run.device import device_name
from bn.run.environment import environment

HOW_READ = ("root", "feed", "workers")  # data keys that do not identify the images


def evaluate_checkpoints(evaluation: Evaluation, chosen: Mapping[str, Any]) -> str:
    """Evaluate, write a record, and return its summary in one line. An existing record is not recomputed.

    The data keys in `chosen` that are not null replace those of the checkpoints. UserError as in
    `load_networks`, or if the data are missing.
    """
    start = time.perf_counter()
    device = set_up_device(evaluation)
    networks, data, statistics = load_networks(evaluation, chosen)
    settings = {
        "crops": evaluation.crops,
        "models": len(networks),
        "statistics": statistics,
        "precision": precision_on(device, evaluation.precision),
    }
    datasets = find_datasets(data[0], training=False)
    subject = {
        **settings,
        "checkpoints": sorted(network.sha256 for network in networks),
        "data": [{k: v for k, v in to_dict(each).items() if k not in HOW_READ} for each in data],
        "pictures": _listing_digest(datasets["val"], data[0].root),
    }
    path = record_path(REPOSITORY / evaluation.output, [network.name for network in networks], subject)
    with write_errors(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
    if (record := read_record(path)) is not None:
        return f"{summary(record, path)} (evaluated at {record['time']}; remove the file to evaluate again)"

    prepare_networks(networks, data, device, statistics, settings["precision"])
    models = [network.model for network in networks]
    with closing(open_loader(data[0], EVALUATION, device, datasets)) as loader:
        counts = _count(models, loader, settings, evaluation.batch, device)
    record = {
        **counts[0],
        **settings,
        "data": to_dict(data[0]),
        "pictures": subject["pictures"],
        "checkpoints": [_network_record(*each) for each in zip(networks, counts[1:], strict=True)],
        "command": shlex.join(["python", *sys.argv]),
        **environment(),
        "device": {"type": device.type, "name": device_name(device), "threads": torch.get_num_threads()},
        "wall_s": round(time.perf_counter() - start, 3),
    }
    write_record(path, record)
    return summary(record, path)


def _network_record(network: Trained, counts: Mapping[str, int]) -> dict[str, Any]:
    """A network's part of the record, with its own counts."""
    return {
        "path": str(network.path),
        "sha256": network.sha256,
        "name": network.name,
        "step": network.step,
        **counts,
        "config": network.config and to_dict(network.config),
    }


def _listing_digest(dataset: ImageDataset, folder: str) -> str:
    """SHA-256 of the names and labels of the images, which identifies the data set."""
    digest = hashlib.sha256(dataset.labels.tobytes())
    root = str(REPOSITORY / folder)
    for name in dataset.names:
        digest.update(name.removeprefix(root).encode(errors="surrogateescape") + b"\0")
    return digest.hexdigest()


def _count(
    models: Sequence[nn.Module],
    loader: ImageLoader,
    settings: Mapping[str, Any],
    batch: int,
    device: torch.device,
) -> list[dict[str, int]]:
    """Count the correct answers of the ensemble (the mean class probabilities), then of each model."""
    crops, precision = settings["crops"], settings["precision"]
    best = []  # (images, 1 + models, 5)
    with tqdm(
        total=len(loader.dataset), unit=" images", disable=None, desc=f"{len(models)} x {crops}",
        dynamic_ncols=True,
    ) as bar:  # fmt: skip
        blocks = crops_of(loader, crops, device)
        for probabilities in class_probabilities(models, blocks, crops, batch, precision):
            mean = probabilities.mean(1, keepdim=True)
            best.append(best_classes(torch.cat([mean, probabilities], 1)))
            bar.update(len(probabilities))
    answers = torch.cat(best)
    right = answers == torch.from_numpy(loader.dataset.labels).to(device)[:, None, None]
    counts = torch.stack([right[..., 0].sum(0), right.any(-1).sum(0), (answers[..., 0] < 0).sum(0)], 1)
    return [
        {"n": len(answers), "top1_correct": top1, "top5_correct": top5, "not_finite": not_finite}
        for top1, top5, not_finite in counts.tolist()  # the first synchronization with the device
    ]
