"""The networks of an evaluation, with the data and the statistics that they are evaluated with."""

from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import torch

from bn.config import ImageData, InceptionModel, MnistData, to_dict
from bn.data.images import Plan, open_loader
from bn.data.mnist import load_mnist
from bn.data.order import EpochOrder
from bn.errors import UserError
from bn.evaluate.config import Evaluation, data_from
from bn.evaluate.trained import Trained, load_trained
from bn.files import REPOSITORY
from bn.models.precision import InPrecision
from bn.norm import population_statistics
from bn.run.device import select_device

SHARED_KEYS = ("name", "root", "classes", "resize", "crop", "inputs")  # of the data, equal for all networks


def set_up_device(evaluation: Evaluation) -> torch.device:
    """Select the device, and set the number of CPU threads."""
    if evaluation.threads is not None:
        torch.set_num_threads(evaluation.threads)
    return select_device(evaluation.device)


def load_networks(
    evaluation: Evaluation, chosen: Mapping[str, Any]
) -> tuple[list[Trained], list[ImageData], str]:
    """Load the networks, the data config of each, and the statistics that BN uses ("none" without BN).

    The data keys in `chosen` that are not null replace those of the checkpoints. UserError if a file cannot
    be evaluated, the data do not fit a network, or the networks cannot be evaluated together.
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
        for key in SHARED_KEYS:
            mine, first = getattr(its_data, key), getattr(data[0], key)
            if mine != first:
                raise UserError(
                    f"data.{key}: {first} in {networks[0].path}, {mine} in {network.path}; accepted: "
                    "networks with the same data, or one choice for all of them (data=..., data.root=...)"
                )
        if evaluation.statistics == "population":
            check_population(network)
    normalized = any(network.normalized for network in networks)
    return networks, data, evaluation.statistics if normalized else "none"


def prepare_networks(
    networks: Sequence[Trained], data: Sequence[ImageData], device: torch.device, statistics: str,
    precision: str,
) -> None:  # fmt: skip
    """Move the networks to `device`, and compute population statistics if they are requested."""
    for network, its_data in zip(networks, data, strict=True):
        network.model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        if statistics == "population":
            set_population_statistics(network, its_data, device, precision)


def _data_of(network: Trained, chosen: Mapping[str, Any]) -> ImageData:
    """The data that `network` is evaluated on. UserError if they are not given or do not fit the network."""
    config = network.config
    if config and not isinstance(config.data, ImageData):
        raise UserError(
            f"{network.path}: a network for {config.data.name}; accepted: networks for images "
            "(the run's metrics.jsonl has the accuracies with both kinds of statistics)"
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
    """Raise UserError if Algorithm 2 cannot be run."""
    if network.config is None:
        raise UserError(
            f"statistics=population: {network.path} does not record its training mini-batches; "
            "accepted with public weights: moving (the statistics in the file)"
        )
    if not network.normalized:
        raise UserError(f"statistics=population: {network.path} has no BN; accepted: moving")


def set_population_statistics(
    network: Trained, data: ImageData | MnistData, device: torch.device, precision: str
) -> None:
    """Run Algorithm 2 on the training mini-batches that follow the checkpoint's step."""
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
    with closing(open_loader(data, plan, device)) as loader:
        # Each process normalized its own share of a mini-batch; with groups this makes no difference.
        shares = network.processes if config.model.norm == "batch" else 1
        batches = (share for n in range(first, last) for share in loader.batch(n).images.chunk(shares))
        try:
            population_statistics(InPrecision(network.model, precision), batches)
        except ValueError as error:
            raise UserError(f"statistics=population: {network.path}: {error}") from error
