"""One training step: forward, loss, backward, update.

`AutogradStep` is the readable step, for any network. `FusedStep` (bn/fused_mlp.py) is the fast step of the
MLP. `CudaGraphStep` (bn/tasks/cuda_graph.py) replays either as one launch on a GPU.
"""

from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bn.norm.module import BatchNorm, count_batches_at_once


class Step(Protocol):
    def __call__(self, images: Tensor, labels: Tensor) -> Tensor:
        """Train on a mini-batch. Return its mean cross-entropy, in nats, as a scalar on the device."""
        ...

    def set_lr(self, lr: float) -> None:
        """Set the learning rate of the next step."""
        ...

    def state_tensors(self) -> list[Tensor]:
        """Return the tensors besides the model's that a step changes in place, such as momentum."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Return the state besides the model's on which the next step depends: that of the optimizer."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


class AutogradStep:
    """The readable step: forward, loss, backward and update, with autograd and a torch optimizer.

    `model` maps images (N, ...) to logits (N, classes); labels are (N,) int64.
    """

    def __init__(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        self.model = model
        self.optimizer = optimizer
        self.norms = [module for module in model.modules() if isinstance(module, BatchNorm)]
        self.lr: float | None = None  # the last argument of set_lr

    def __call__(self, images: Tensor, labels: Tensor) -> Tensor:
        with count_batches_at_once(self.norms):
            logits = self.model(images)
        loss = F.cross_entropy(logits, labels)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.detach()

    def set_lr(self, lr: float) -> None:
        if lr == self.lr:
            return
        self.lr = lr
        filled = None
        for group in self.optimizer.param_groups:
            if not isinstance(group["lr"], Tensor):
                group["lr"] = lr
            elif group["lr"] is not filled:  # the groups may share one tensor
                filled = group["lr"].fill_(lr)  # in place: a captured step reads this tensor

    def state_tensors(self) -> list[Tensor]:
        return [tensor for entry in self.optimizer.state.values() for tensor in entry.values()]

    def state_dict(self) -> dict[str, Any]:
        return self.optimizer.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        # Keep this device's choice of implementation and of where the learning rate is stored.
        own = [
            {key: group[key] for key in ("lr", "fused", "foreach")} for group in self.optimizer.param_groups
        ]
        lrs = [float(group["lr"]) for group in state["param_groups"]]
        groups = [{**group, **choices} for group, choices in zip(state["param_groups"], own, strict=True)]
        self.optimizer.load_state_dict({**state, "param_groups": groups})
        self.lr = None
        for group, choices, lr in zip(self.optimizer.param_groups, own, lrs, strict=True):
            tensor = choices["lr"]  # the original: load_state_dict has copied it
            group["lr"] = tensor.fill_(lr) if isinstance(tensor, Tensor) else lr
