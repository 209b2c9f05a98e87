"""The networks of an evaluation, which may be one, and what each was trained with."""

from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import torch

from bn.config import ImageData, InceptionModel, MnistData, to_dict
from bn.data.images import Plan, open_images
from bn.data.mnist import load_mnist
from bn.data.order import EpochOrder
from bn.errors import UserError
from bn.evaluate.config import Evaluation, data_from
from bn.evaluate.trained import Trained, load_trained
from bn.norm import population_statistics
from bn.run.directory import REPOSITORY
from bn.tasks.precision import InPrecision
from bn.train import select_device

SEEN = (
    "name",
    "root",
    "classes",
    "resize",
    "crop",
    "inputs",
)  # of the data: which images are seen, and what of them


def device_of(evaluation: Evaluation) -> torch.device:
    """Where it runs, with as many threads of this process as it says."""
    if evaluation.threads is not None:
        torch.set_num_threads(evaluation.threads)
    return select_device(evaluation.device)


def load_networks(
    evaluation: Evaluation, chosen: Mapping[str, Any]
) -> tuple[list[Trained], list[ImageData], str]:
    """The networks, what each is evaluated on, and the statistics that BN normalizes by; "none" without BN.

    `chosen` data (what of them is not null) stand in place of the checkpoints' own. UserError if a file, the
    data, or the networks together are not what an evaluation takes.
    """
    networks = [load_trained(Path(path)) for path in evaluation.checkpoint]
    data = [_data_of(network, chosen) for network in networks]
    seen: dict[str, Trained] = {}
    for network, its_data in zip(networks, data, strict=True):
        if (same := seen.setdefault(network.sha256, network)) is not network:
            raise UserError(
                f"checkpoint: {network.path} and {same.path} are the same network; "
                "accepted: each network once"
            )
        for key in SEEN:
            mine, first = getattr(its_data, key), getattr(data[0], key)
            if mine != first:
                raise UserError(
                    f"data.{key}: {first} of {networks[0].path}, {mine} of {network.path}; accepted: "
                    "networks on the same data, or what to evaluate all of them on (data=..., data.root=...)"
                )
        if evaluation.statistics == "population":
            check_population(network)
    normalized = any(network.normalized for network in networks)
    return networks, data, evaluation.statistics if normalized else "none"


def take_to(
    device: torch.device, networks: Sequence[Trained], data: Sequence[ImageData], statistics: str,
    precision: str,
) -> None:  # fmt: skip
    """Put the networks on `device`, with these statistics."""
    for network, its_data in zip(networks, data, strict=True):
        network.model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        if statistics == "population":
            take_population_statistics(network, its_data, device, precision)


def _data_of(network: Trained, chosen: Mapping[str, Any]) -> ImageData:
    """What `network` is evaluated on. UserError if that is not said, or not what it can be evaluated on."""
    config = network.config
    if config and not isinstance(config.data, ImageData):
        raise UserError(
            f"{network.path}: a network on {config.data.name}; evaluate.py takes image networks "
            "(of this one, the run's metrics.jsonl has the accuracies with either statistics)"
        )
    if config is None and chosen.get("name") is None:
        raise UserError(f"data: required with public weights such as {network.path}; accepted: imagenet, ...")
    data = data_from(to_dict(config)["data"] if config else {}, chosen)
    if data.classes != network.classes:
        raise UserError(f"data.classes={data.classes}: {network.path} has {network.classes} classes")
    if config and isinstance(config.model, InceptionModel) and config.model.per_activation:
        assert isinstance(config.data, ImageData)
        if data.crop != config.data.crop:
            raise UserError(
                f"data.crop={data.crop}: {network.path} has per-activation BN; accepted: {config.data.crop}"
            )
    return data


def check_population(network: Trained) -> None:
    """UserError if Algorithm 2 cannot be run."""
    if network.config is None:
        raise UserError(
            f"statistics=population: {network.path} does not say what mini-batches it was trained "
            "with; accepted with public weights: moving (the statistics that are in the file)"
        )
    if not network.normalized:
        raise UserError(f"statistics=population: {network.path} has no BN; accepted: moving")


def take_population_statistics(
    network: Trained, data: ImageData | MnistData, device: torch.device, precision: str
) -> None:
    """Algorithm 2, on the training mini-batches that would have come next when the checkpoint was written."""
    config, first = network.config, network.step
    assert config is not None
    assert first is not None
    last = first + config.evaluate.population_batches
    if isinstance(data, MnistData):
        root = REPOSITORY / data.root
        train = load_mnist(
            root, data.threshold, data.validation, data.name, data.examples, data.inputs
        ).train.to(device)
        order = EpochOrder(len(train.labels), config.optim.batch, config.seed, device)
        population_statistics(network.model, (train.batch(order(n))[0] for n in range(first, last)))
        return
    plan = Plan(steps=last, batch=config.optim.batch, seed=config.seed, first=first)
    with closing(open_images(data, plan, device)) as images:
        # Each process normalized its share of a mini-batch; in groups that makes no difference.
        shares = network.processes if config.model.norm == "batch" else 1
        batches = (share for n in range(first, last) for share in images.feed(n).images.chunk(shares))
        try:
            population_statistics(InPrecision(network.model, precision), batches)
        except ValueError as error:
            raise UserError(f"statistics=population: {network.path}: {error}") from error
