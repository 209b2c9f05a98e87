"""The interface of observations: classes, named in the config, that inspect a network while it trains.

`observe: [percentiles, ...]` selects them for a run, and `bn.config.choices.OBSERVATIONS` maps names to
classes. docs/extending.md adds one.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from bn.config import Config
from bn.config.choices import OBSERVATIONS, load
from bn.models.inception import Unit
from bn.models.mlp import HiddenLayer


class Subject(NamedTuple):
    """The observed network and a fixed set of training examples, the same for all seeds."""

    config: Config
    model: nn.Module  # in float32
    network: nn.Module  # the same, with its forward pass in the precision of training
    layers: Mapping[str, HiddenLayer | Unit]  # the observed layers, by their names in the records
    batches: Sequence[tuple[Tensor, Tensor]]  # images and labels, in mini-batches of the training size


class Histogram(NamedTuple):
    """The number of values in each bin: `counts` (B,), between `edges` (B + 1,)."""

    counts: np.ndarray
    edges: np.ndarray


class Views(NamedTuple):
    """Values by name that only the loggers show, in addition to those in metrics.jsonl."""

    numbers: dict[str, float]
    histograms: dict[str, Histogram]


class Observation(ABC):
    """Inspects its subject at certain steps and leaves it unchanged.

    Numbers go into metrics.jsonl, under names such as `observe/gradient_norm/layer1`. An observation holds
    anything else, such as arrays, in its `state_dict` and writes it into the run directory in `save`.
    """

    def __init__(self, subject: Subject) -> None:
        self.subject = subject

    def steps(self) -> frozenset[int]:
        """Return the steps to observe; 0 is before the first. By default those of `probe.at`."""
        config = self.subject.config
        return config.probe.at.steps(config.length)

    @abstractmethod
    def observe(self, step: int) -> dict[str, float]:
        """Observe the network as it is after `step`, and return the numbers to log, if any."""

    def views(self) -> Views:
        """Return what loggers show of the latest observation."""
        return Views({}, {})

    def state_dict(self) -> dict[str, Tensor]:
        """Return everything observed so far that `save` needs, for a checkpoint."""
        return {}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restore the state that `state_dict` returned."""
        return

    def save(self, folder: Path) -> None:
        """Write what is not in metrics.jsonl into the run directory; called at each checkpoint."""
        return


@contextmanager
def training_mode(model: nn.Module) -> Iterator[None]:
    """Put `model` into training mode (N_BN^tr: BN uses the statistics of the mini-batch); restore it on exit.

    Its buffers (the moving averages), its training flag and torch's random state are restored, so that
    dropout may draw without an effect on training.
    """
    was_training = model.training
    buffers = [buffer.clone() for buffer in model.buffers()]
    devices = [p.device for p in model.parameters() if p.is_cuda][:1]
    try:
        model.train()
        with torch.random.fork_rng(devices):
            yield
    finally:
        with torch.no_grad():
            for buffer, saved in zip(model.buffers(), buffers, strict=True):
                buffer.copy_(saved)
        model.train(was_training)


End = Literal["input", "output"]
Place = tuple[nn.Module, End]  # the input or the output of a module


@contextmanager
def recorded_at(
    places: Mapping[str, Place], transform: Callable[[Tensor], Tensor]
) -> Iterator[dict[str, list[Tensor]]]:
    """Record `transform` of the values at each place, by its name, once for each forward pass."""
    recorded: dict[str, list[Tensor]] = {name: [] for name in places}

    def hook(values: list[Tensor], module: nn.Module, end: End) -> RemovableHandle:
        if end == "output":
            return module.register_forward_hook(lambda _, _args, output: values.append(transform(output)))
        return module.register_forward_pre_hook(  # before the module may change its input in place
            lambda _, args, named: values.append(transform(*args, *named.values())), with_kwargs=True
        )

    with ExitStack() as hooks:
        for name, place in places.items():
            hooks.enter_context(hook(recorded[name], *place))
        yield recorded


@torch.no_grad()
def values_at(
    subject: Subject, places: Mapping[str, Place], transform: Callable[[Tensor], Tensor]
) -> dict[str, Tensor]:
    """Return `transform` of the values at each place, concatenated over all examples, in training mode."""
    with recorded_at(places, transform) as recorded, training_mode(subject.model):
        for images, _ in subject.batches:
            subject.network(images)
    return {name: torch.cat(recorded.pop(name)) for name in places}  # pop: frees the parts


def by_unit(values: Tensor) -> Tensor:
    """Reshape (N, units, ...) to (values, units): a convolution's unit is a feature map at all locations."""
    return values.movedim(1, -1).reshape(-1, values.shape[1])


def at_nonlinearities(subject: Subject, end: End) -> dict[str, Place]:
    return {name: (layer.nonlinearity, end) for name, layer in subject.layers.items()}


def nonlinearity_inputs(subject: Subject) -> dict[str, Tensor]:
    """Return the inputs to each layer's nonlinearity, over all examples: (values, units) float32."""

    def copy(inputs: Tensor) -> Tensor:  # the nonlinearity may work in place
        return by_unit(inputs).to(torch.float32, copy=True)

    return values_at(subject, at_nonlinearities(subject, "input"), copy)


class Observer:
    """The observations of a run, by name, called together."""

    def __init__(self, observations: Mapping[str, Observation]) -> None:
        self.observations = observations
        self._steps = {name: observation.steps() for name, observation in observations.items()}
        self.steps = frozenset[int]().union(*self._steps.values())  # of any observation

    def observe(self, step: int) -> dict[str, float]:
        numbers: dict[str, float] = {}
        for name, observation in self.observations.items():
            if step in self._steps[name]:
                numbers |= observation.observe(step)
        return numbers

    def views(self, step: int) -> Views:
        """Return the views of the observations made at `step`, the latest."""
        views = Views({}, {})
        for name, observation in self.observations.items():
            if step in self._steps[name]:
                numbers, histograms = observation.views()
                views.numbers.update(numbers)
                views.histograms.update(histograms)
        return views

    def state_dict(self) -> dict[str, Any]:
        return {name: observation.state_dict() for name, observation in self.observations.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        for name, observation in self.observations.items():
            observation.load_state_dict(state[name])

    def save(self, folder: Path) -> None:
        for observation in self.observations.values():
            observation.save(folder)


def build_observer(subject: Subject) -> Observer:
    """Build the observations of `subject` that its config names."""
    return Observer({name: load(OBSERVATIONS[name])(subject) for name in subject.config.observe})
