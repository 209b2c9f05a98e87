"""The training step in fp16."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bn.norm.layers import is_normalization
from bn.norm.module import counted_together
from bn.tasks.steps import AutogradStep


class ScaledStep(AutogradStep):
    """A step in fp16: the loss is scaled so that small gradients do not vanish.

    Where the gradients overflow nevertheless, the step is skipped, and the statistics of its mini-batch do
    not enter the moving averages either: an infinity in them would stay for good. `skipped` counts.
    """

    def __init__(self, model: nn.Module, optimizer: torch.optim.Optimizer, scale: float = 2.0**16) -> None:
        super().__init__(model, optimizer)
        device = next(model.parameters()).device
        self.scaler = torch.amp.GradScaler(device.type, init_scale=scale)
        self.skipped = torch.zeros((), dtype=torch.int64, device=device)
        buffers = [b for module in model.modules() if is_normalization(module) for b in module.buffers()]
        # By type: each list is handled as one vector, on a GPU a few kernels in place of hundreds.
        self.statistics = [
            [b for b in buffers if b.is_floating_point() is floating] for floating in (True, False) if buffers
        ]

    def __call__(self, images: Tensor, labels: Tensor) -> Tensor:
        before = [flat(tensors) for tensors in self.statistics]
        with counted_together(self.norms):
            loss = F.cross_entropy(self.model(images), labels)
        self.optimizer.zero_grad()
        self.scaler.scale(loss).backward()
        self.scaler.unscale_(self.optimizer)
        gradients = [p.grad for g in self.optimizer.param_groups for p in g["params"] if p.grad is not None]
        finite = torch.stack(torch._foreach_norm(gradients)).isfinite().all()
        for tensors, old in zip(self.statistics, before, strict=True):
            kept = torch.where(finite, flat(tensors), old).split([tensor.numel() for tensor in tensors])
            torch._foreach_copy_(tensors, [part.view_as(t) for part, t in zip(kept, tensors, strict=True)])
        self.skipped += ~finite
        self.scaler.step(self.optimizer)  # skips where a gradient is not finite
        self.scaler.update()
        return loss.detach()

    def tensors(self) -> list[Tensor]:
        return [*super().tensors(), self.skipped]

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "scaler": self.scaler.state_dict(), "skipped": self.skipped}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        optimizer = {key: value for key, value in state.items() if key not in ("scaler", "skipped")}
        super().load_state_dict(optimizer)
        self.scaler.load_state_dict(state["scaler"])
        self.skipped.copy_(state["skipped"])


def flat(tensors: list[Tensor]) -> Tensor:
    """One vector of copies."""
    return torch.cat([tensor.flatten() for tensor in tensors])
