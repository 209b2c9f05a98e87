"""One training step: forward, loss, backward, update.

`AutogradStep` is the readable one, for any network, and the one to read. `FusedStep` (bn/fused_mlp.py) is the
fast one for the MLP; `CudaGraphStep` (bn/tasks/cuda_graph.py) replays either as one launch on a GPU.
"""

from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bn.norm.module import BatchNorm, count_batches_at_once


class Step(Protocol):
    def __call__(self, images: Tensor, labels: Tensor) -> Tensor:
        """Train on a mini-batch; its mean cross-entropy, in nats, a scalar on the device, not waited for."""
        ...

    def set_rate(self, rate: float) -> None:
        """The learning rate of the next step."""
        ...

    def tensors(self) -> list[Tensor]:
        """What it changes in place besides the model: momentum."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """What the next step depends on besides the model: the optimizer's state."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


class AutogradStep:
    """The readable step: forward, loss, backward and update, as everybody writes them.

    `model` maps images (N, ...) to logits (N, classes); labels are (N,) int64.
    """

    def __init__(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        self.model = model
        self.optimizer = optimizer
        self.norms = [module for module in model.modules() if isinstance(module, BatchNorm)]
        self.rate: float | None = None  # what set_rate wrote last

    def __call__(self, images: Tensor, labels: Tensor) -> Tensor:
        with count_batches_at_once(self.norms):
            logits = self.model(images)
        loss = F.cross_entropy(logits, labels)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.detach()

    def set_rate(self, rate: float) -> None:
        if rate == self.rate:
            return
        self.rate = rate
        written = None
        for group in self.optimizer.param_groups:
            if not isinstance(group["lr"], Tensor):
                group["lr"] = rate
            elif group["lr"] is not written:  # the groups share it
                written = group["lr"].fill_(rate)  # in place: a captured step reads it there

    def tensors(self) -> list[Tensor]:
        return [tensor for entry in self.optimizer.state.values() for tensor in entry.values()]

    def state_dict(self) -> dict[str, Any]:
        return self.optimizer.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        # How it is computed, and where the rate is, is this device's choice and not the checkpoint's.
        own = [
            {key: group[key] for key in ("lr", "fused", "foreach")} for group in self.optimizer.param_groups
        ]
        rates = [float(group["lr"]) for group in state["param_groups"]]
        groups = [{**group, **choices} for group, choices in zip(state["param_groups"], own, strict=True)]
        self.optimizer.load_state_dict({**state, "param_groups": groups})
        self.rate = None
        for group, choices, rate in zip(self.optimizer.param_groups, own, rates, strict=True):
            lr = choices["lr"]  # loading has made a copy
            group["lr"] = lr.fill_(rate) if isinstance(lr, Tensor) else rate
