"""The interface between the training loop and what it trains."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from bn.observe.observation import Observer
from bn.tasks.steps import Step


class Task(ABC):
    """A network, its data and one step of its training."""

    model: nn.Module
    step: Step
    rate: Callable[[int], float]  # the learning rate of step n, counted from 1
    observer: Observer

    @abstractmethod
    def draw(self, n: int) -> tuple[Tensor, Tensor]:
        """The mini-batch of step `n`, counted from 1: images and labels (N,), on the device."""

    @abstractmethod
    def evaluate(self) -> dict[str, float]:
        """Accuracies with the moving averages, by the names under which they are logged."""

    @abstractmethod
    def evaluate_population(self) -> dict[str, float]:
        """The same with the statistics of Algorithm 2, named `..._population`; empty without BN."""

    @abstractmethod
    def capture(self) -> None:
        """Replay the step as a CUDA graph from here on."""

    @abstractmethod
    def describe(self) -> str:
        """How a step is computed, in a few words for the first lines printed."""

    @abstractmethod
    def describe_data(self) -> str:
        """The data set, and how many images there are to train on and to evaluate on, for the same lines."""

    def step_numbers(self, n: int) -> dict[str, float]:
        """What is logged of step `n`, just taken, besides the loss."""
        return {}

    def state_dict(self) -> dict[str, Any]:
        """Everything that the next step depends on, and what was observed."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.step.state_dict(),
            "observations": self.observer.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        self.step.load_state_dict(state["optimizer"])
        # Before observations could be chosen there were percentiles alone, under "probe".
        old = "observations" not in state
        self.observer.load_state_dict({"percentiles": state["probe"]} if old else state["observations"])

    def close(self) -> None:
        """Give back what the data hold, such as the processes that decode them."""
        return
