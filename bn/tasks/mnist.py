"""The task of section 4.1: the MLP on MNIST, with the whole data set on the device."""

from collections.abc import Iterator

import torch
from torch import Tensor

from bn.config import Config, MnistData
from bn.data.mnist import Examples, Mnist, load_mnist
from bn.data.order import EpochOrder
from bn.data.seeds import generator
from bn.errors import UserError
from bn.evaluate.accuracy import evaluate, evaluate_population
from bn.files import REPOSITORY
from bn.fused_mlp import FusedStep, unsupported
from bn.models.build import build_model
from bn.models.mlp import MLP
from bn.observe.observation import Subject, build_observer
from bn.tasks.cuda_graph import CudaGraphStep, try_capture
from bn.tasks.optim import build_optimizer, lr_schedule
from bn.tasks.steps import AutogradStep, Step
from bn.tasks.task import Task


class MnistTask(Task):
    def __init__(self, config: Config, device: torch.device) -> None:
        assert isinstance(config.data, MnistData)
        d = config.data
        data = load_mnist(REPOSITORY / d.root, d.threshold, d.validation, d.name, d.examples, d.inputs)
        validation = data.validation and data.validation.to(device)
        model = build_model(config).to(device)
        assert isinstance(model, MLP)
        self.config = config
        self.data = Mnist(data.train.to(device), validation, data.test.to(device))
        self.model = model
        self.order = EpochOrder(len(data.train.labels), config.optim.batch, config.seed, device)
        self.lr = lr_schedule(config.optim)
        self.observer = build_observer(subject_of(config, model, self.data.train))
        self.step: Step = build_step(config, model)

    def draw(self, n: int) -> tuple[Tensor, Tensor]:
        return self.data.train.batch(self.order(n - 1))

    def evaluate(self) -> dict[str, float]:
        return evaluate(self.model, self.data)

    def evaluate_population(self) -> dict[str, float]:
        return evaluate_population(
            self.model, population_batches(self.config, self.data, self.order), self.evaluate
        )

    def capture(self) -> None:
        self.step = try_capture(self.step, self.model, *self.draw(1))

    def describe(self) -> str:
        step = self.step.step if isinstance(self.step, CudaGraphStep) else self.step
        fused = isinstance(step, FusedStep)
        parts = ["fused step" if fused else "readable step"]
        if self.config.step_path == "auto" and not fused:
            parts.append(f"the fused step does not support {unsupported(self.config) or 'this network'}")
        return ", ".join((*parts, *["CUDA graph"] * (step is not self.step)))

    def describe_data(self) -> str:
        held_out = f", {len(self.data.validation.labels):,} held-out" if self.data.validation else ""
        train, test = len(self.data.train.labels), len(self.data.test.labels)
        return f"{self.config.data.name}: {train:,} training{held_out} and {test:,} test images"


def build_step(config: Config, model: MLP) -> Step:
    """Build the step that `step_path` selects; `auto` prefers the fused step if it supports the network."""
    o = config.optim
    if config.step_path == "fused" or (config.step_path == "auto" and unsupported(config) is None):
        try:
            return FusedStep(model, batch=o.batch, lr=o.initial_rate, decay=o.l2)
        except ValueError as error:  # the network was changed in the code
            if config.step_path == "fused":
                raise UserError(f"step_path=fused: {error}; accepted: autograd, auto") from error
    return AutogradStep(model, build_optimizer(model, o))


def subject_of(config: Config, model: MLP, train: Examples) -> Subject:
    """Observe all hidden layers on a subset of the training examples, the same for all seeds and networks.

    The number of examples is rounded up to whole mini-batches, or down if there are too few.
    """
    batch = config.optim.batch
    wanted = -(-config.probe.examples // batch) * batch
    examples = min(wanted, len(train.labels) // batch * batch)
    chosen = torch.randperm(len(train.labels), generator=generator(0, "probe"))[:examples]
    images, labels = train.batch(chosen.to(train.images.device))
    layers = {f"layer{i}": layer for i, layer in enumerate(model.layers, start=1)}
    batches = list(zip(images.split(batch), labels.split(batch), strict=True))
    return Subject(config, model, model, layers, batches)


def population_batches(config: Config, data: Mnist, order: EpochOrder) -> Iterator[Tensor]:
    """Yield the training mini-batches for Algorithm 2: those that would follow the last step."""
    for i in range(config.evaluate.population_batches):
        yield data.train.images[order(config.length + i)].float()
