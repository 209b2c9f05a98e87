"""The interface between the training loop and what it trains."""

from abc import ABC, abstractmethod
from typing import Any

from torch import Tensor, nn

from bn.observe.percentiles import PercentileProbe
from bn.tasks.steps import Step


class Task(ABC):
    """A network, its data and one step of its training."""

    model: nn.Module
    step: Step
    probe: PercentileProbe

    @abstractmethod
    def advance(self, n: int) -> Tensor:
        """Take step `n`, counted from 1; the loss of its mini-batch, on the device, not waited for."""

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
        """How a step is computed, in a few words for the first line printed."""

    def observations(self, n: int) -> dict[str, float]:
        """What is logged of step `n`, just taken, besides the loss."""
        return {}

    def state_dict(self) -> dict[str, Any]:
        """Everything that the next step depends on, and what the probe has observed."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.step.state_dict(),
            "probe": self.probe.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        self.step.load_state_dict(state["optimizer"])
        self.probe.load_state_dict(state["probe"])

    @abstractmethod
    def close(self) -> None:
        """Give back what the data hold, such as the processes that decode them."""
