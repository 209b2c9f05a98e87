"""The task of section 4.1: the MLP on MNIST, whole on the device."""

from collections.abc import Iterator

import torch
from torch import Tensor

from bn.config import Config, MnistData
from bn.data.mnist import Mnist, Split, load_mnist
from bn.data.order import EpochOrder
from bn.evaluate import evaluate, evaluate_population
from bn.fused_step import FusedStep
from bn.models.build import build_model
from bn.models.mlp import MLP
from bn.optim import rate_of, sgd
from bn.probes import PercentileProbe
from bn.records import REPOSITORY
from bn.seeds import generator
from bn.steps import AutogradStep, Step, captured
from bn.tasks.task import Task


class MnistTask(Task):
    def __init__(self, config: Config, device: torch.device) -> None:
        assert isinstance(config.data, MnistData)
        data = load_mnist(REPOSITORY / config.data.root, config.data.threshold, config.data.validation)
        validation = data.validation and data.validation.to(device)
        model = build_model(config).to(device)
        assert isinstance(model, MLP)
        self.config = config
        self.data = Mnist(data.train.to(device), validation, data.test.to(device))
        self.model = model
        self.order = EpochOrder(len(data.train.labels), config.optim.batch, config.seed, device)
        self.rate = rate_of(config.optim)
        self.probe = build_probe(config, model, self.data.train)
        self.step: Step = build_step(config, model, self.data.train)

    def advance(self, n: int) -> Tensor:
        if self.config.optim.decay.factor < 1:
            self.step.set_rate(self.rate(n))
        return self.step(self.order(n - 1))

    def evaluate(self) -> dict[str, float]:
        return evaluate(self.model, self.data)

    def evaluate_population(self) -> dict[str, float]:
        return evaluate_population(
            self.model, population_batches(self.config, self.data, self.order), self.evaluate
        )

    def capture(self) -> None:
        self.step = captured(self.step, self.model, self.order(0))

    def describe(self) -> str:
        return type(self.step).__name__

    def close(self) -> None:
        pass


class IndexedStep(AutogradStep):
    """The readable step on the examples that indices name."""

    def __init__(self, model: MLP, optimizer: torch.optim.Optimizer, data: Split) -> None:
        super().__init__(model, optimizer)
        self.data = data
        self.dtype = model.classifier.weight.dtype

    def __call__(self, *inputs: Tensor) -> Tensor:
        (indices,) = inputs
        images = self.data.images[indices].to(self.dtype)
        return super().__call__(images, self.data.labels[indices])


def build_step(config: Config, model: MLP, train: Split) -> Step:
    """The fused step where it serves or is asked for, else the readable one."""
    o = config.optim
    if config.step_path == "autograd" or (config.step_path == "auto" and (o.momentum or o.decay.factor < 1)):
        return IndexedStep(model, sgd(model, o.initial_rate, o.momentum, o.l2), train)
    return FusedStep(model, train, batch=o.batch, lr=o.initial_rate, decay=o.l2)


def build_probe(config: Config, model: MLP, train: Split) -> PercentileProbe:
    """Of all layers, over the first examples by a permutation that is the same for all seeds and networks.

    Their number is rounded up to whole mini-batches, or down where there are not so many.
    """
    batch = config.optim.batch
    wanted = -(-config.probe.examples // batch) * batch
    examples = min(wanted, len(train.labels) // batch * batch)
    chosen = torch.randperm(len(train.labels), generator=generator(0, "probe"))[:examples]
    images = train.images[chosen.to(train.images.device)].float()
    layers = {f"layer{i}": layer.nonlinearity for i, layer in enumerate(model.layers, start=1)}
    return PercentileProbe(model, layers, images.split(batch), config.probe.percentiles)


def population_batches(config: Config, data: Mnist, order: EpochOrder) -> Iterator[Tensor]:
    """The training mini-batches that Algorithm 2 takes: those that would have come next."""
    for i in range(config.evaluate.population_batches):
        yield data.train.images[order(config.length + i)].float()
