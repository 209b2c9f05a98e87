"""The interface between the training loop and the network, data and step that it trains."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from bn.observe.observation import Observer
from bn.tasks.steps import Step


class Task(ABC):
    """A network, its data and its training step."""

    model: nn.Module
    step: Step
    lr: Callable[[int], float]  # the learning rate of step n, counted from 1
    observer: Observer

    @abstractmethod
    def draw(self, n: int) -> tuple[Tensor, Tensor]:
        """Return the mini-batch of step `n`, counted from 1: images and labels (N,), on the device."""

    @abstractmethod
    def evaluate(self) -> dict[str, float]:
        """Return accuracies with the moving averages, by their logged names."""

    @abstractmethod
    def evaluate_population(self) -> dict[str, float]:
        """Return accuracies with Algorithm 2's statistics, named `..._population`; empty without BN."""

    @abstractmethod
    def capture(self) -> None:
        """Capture the step as a CUDA graph, to be replayed from now on."""

    @abstractmethod
    def describe(self) -> str:
        """Describe briefly how a step is computed, for the header."""

    @abstractmethod
    def describe_data(self) -> str:
        """Name the data set and its numbers of training and evaluation images, for the header."""

    def step_metrics(self, n: int) -> dict[str, float]:
        """Return what is logged of the latest step `n`, besides the loss."""
        return {}

    def state_dict(self) -> dict[str, Any]:
        """Return everything that the next step depends on, and the observations."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.step.state_dict(),
            "observations": self.observer.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        self.step.load_state_dict(state["optimizer"])
        # Older checkpoints have only percentiles, under "probe".
        old = "observations" not in state
        self.observer.load_state_dict({"percentiles": state["probe"]} if old else state["observations"])

    def close(self) -> None:
        """Release the resources of the data, such as worker processes."""
        return
