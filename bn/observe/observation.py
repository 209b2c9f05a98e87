"""What an observation is: a class, chosen by its name in the config, that looks at a network while it trains.

`observe: [percentiles, ...]` names those of a run; `bn.config.choices.OBSERVATIONS` says which class a name
stands for. docs/extending.md adds one.
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
    """What there is to look at: a network, and a fixed set of training examples, the same for all seeds."""

    config: Config
    model: nn.Module  # in float32
    network: nn.Module  # the same, with its forward pass in the precision that it trains in
    layers: Mapping[str, HiddenLayer | Unit]  # those observed, by the name they are recorded under
    batches: Sequence[tuple[Tensor, Tensor]]  # images and labels, in mini-batches as it trains with


class Histogram(NamedTuple):
    """How many values lie in each bin: `counts` (B,), between `edges` (B + 1,)."""

    counts: np.ndarray
    edges: np.ndarray


class Views(NamedTuple):
    """What loggers show of a look, by name, besides the numbers in metrics.jsonl."""

    numbers: dict[str, float]
    histograms: dict[str, Histogram]


class Observation(ABC):
    """Looks at its subject at its steps, and leaves it as it was.

    Numbers go into metrics.jsonl, under names such as `observe/gradient_norm/layer1`. What is no number an
    observation keeps, in `state_dict`, and writes into the run directory in `save`.
    """

    def __init__(self, subject: Subject) -> None:
        self.subject = subject

    def steps(self) -> frozenset[int]:
        """When it looks; 0 is before the first step. Those of `probe.at`, unless it says otherwise."""
        config = self.subject.config
        return config.probe.at.steps(config.length)

    @abstractmethod
    def observe(self, step: int) -> dict[str, float]:
        """Look at the network as it is after `step`; the numbers to log, maybe none."""

    def views(self) -> Views:
        """What there is to show of the latest look."""
        return Views({}, {})

    def state_dict(self) -> dict[str, Tensor]:
        """Everything observed so far that `save` needs, for a checkpoint."""
        return {}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """What `state_dict` gave."""
        return

    def save(self, folder: Path) -> None:
        """Write into the run directory what is not in metrics.jsonl; called at each checkpoint."""
        return


@contextmanager
def undisturbed(model: nn.Module) -> Iterator[None]:
    """`model` in training mode, for looking at it (N_BN^tr: normalized by the mini-batch's own statistics).

    On leaving, its moving averages, its training flag and torch's random state are as they were: dropout
    draws, but nothing later depends on it.
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
Place = tuple[nn.Module, End]  # what goes into a module, or what comes out


@contextmanager
def kept_at(
    places: Mapping[str, Place], keep: Callable[[Tensor], Tensor]
) -> Iterator[dict[str, list[Tensor]]]:
    """What `keep` makes of the values at each place, by the place's name, one for each forward pass."""
    kept: dict[str, list[Tensor]] = {name: [] for name in places}

    def hook(into: list[Tensor], module: nn.Module, end: End) -> RemovableHandle:
        def on_input(_module, args, named) -> None:  # before the module works on it, maybe in place
            (given,) = (*args, *named.values())
            into.append(keep(given))

        def on_output(_module, _args, output: Tensor) -> None:
            into.append(keep(output))

        if end == "input":
            return module.register_forward_pre_hook(on_input, with_kwargs=True)
        return module.register_forward_hook(on_output)

    with ExitStack() as hooks:
        for name, place in places.items():
            hooks.enter_context(hook(kept[name], *place))
        yield kept


@torch.no_grad()
def values_at(
    subject: Subject, places: Mapping[str, Place], keep: Callable[[Tensor], Tensor]
) -> dict[str, Tensor]:
    """The same, concatenated, of all examples, which pass through the network undisturbed."""
    with kept_at(places, keep) as kept, undisturbed(subject.model):
        for images, _ in subject.batches:
            subject.network(images)
    return {name: torch.cat(kept.pop(name)) for name in places}


def by_unit(values: Tensor) -> Tensor:
    """(N, units, ...) as (values, units): a convolution's unit is a feature map, at all its locations."""
    return values.movedim(1, -1).reshape(-1, values.shape[1])


def at_nonlinearities(subject: Subject, end: End) -> dict[str, Place]:
    return {name: (layer.nonlinearity, end) for name, layer in subject.layers.items()}


def nonlinearity_inputs(subject: Subject) -> dict[str, Tensor]:
    """What goes into each layer's nonlinearity, over all examples: (values, units) float32."""

    def keep(given: Tensor) -> Tensor:  # a copy, since the nonlinearity may work in place
        return by_unit(given).to(torch.float32, copy=True)

    return values_at(subject, at_nonlinearities(subject, "input"), keep)


class Observer:
    """The observations of a run, by name, as one."""

    def __init__(self, observations: Mapping[str, Observation]) -> None:
        self.observations = observations
        self._steps = {name: observation.steps() for name, observation in observations.items()}
        self.steps = frozenset[int]().union(*self._steps.values())  # at which any looks

    def observe(self, step: int) -> dict[str, float]:
        found: dict[str, float] = {}
        for name, observation in self.observations.items():
            if step in self._steps[name]:
                found |= observation.observe(step)
        return found

    def views(self, step: int) -> Views:
        """What those that looked at `step`, the latest, have to show."""
        found = Views({}, {})
        for name, observation in self.observations.items():
            if step in self._steps[name]:
                numbers, histograms = observation.views()
                found.numbers.update(numbers)
                found.histograms.update(histograms)
        return found

    def state_dict(self) -> dict[str, Any]:
        return {name: observation.state_dict() for name, observation in self.observations.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        for name, observation in self.observations.items():
            observation.load_state_dict(state[name])

    def save(self, folder: Path) -> None:
        for observation in self.observations.values():
            observation.save(folder)


def build_observer(subject: Subject) -> Observer:
    """The observations that the config names, of `subject`."""
    return Observer({name: load(OBSERVATIONS[name])(subject) for name in subject.config.observe})
