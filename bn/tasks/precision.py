"""The precision of forward passes; parameters, statistics and updates stay in float32."""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn


def precision_on(device: torch.device, wanted: str) -> str:
    """What `auto` means: bf16 on a GPU, float32 on a CPU."""
    if wanted != "auto":
        return wanted
    return "bf16" if device.type == "cuda" else "float32"


def autocast(device: torch.device, precision: str) -> AbstractContextManager:
    """The context of a forward pass in `precision`: float32 or bf16."""
    if precision == "float32":
        return nullcontext()
    # Weights change each step, so that a cached cast would only take memory; a CUDA graph must not see one.
    return torch.autocast(device.type, torch.bfloat16, cache_enabled=False)


class InPrecision(nn.Module):
    """`network` with its forward pass in `precision`, and its output in float32 where that is another."""

    def __init__(self, network: nn.Module, precision: str) -> None:
        super().__init__()
        self.network = network
        self.precision = precision

    def forward(self, x: Tensor) -> Tensor:
        if self.precision == "float32":
            return self.network(x)
        with autocast(x.device, self.precision):
            y = self.network(x)
        return y.float()
