"""The precision of forward passes. Parameters, statistics and updates are always float32."""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn


def precision_on(device: torch.device, wanted: str) -> str:
    """Resolve `wanted`; `auto` is bf16 on a GPU and float32 on a CPU."""
    if wanted != "auto":
        return wanted
    return "bf16" if device.type == "cuda" else "float32"


def autocast(device: torch.device, precision: str) -> AbstractContextManager:
    """Return the context for a forward pass in `precision`, float32 or bf16."""
    if precision == "float32":
        return nullcontext()
    # Weights change each step, so a cache of their casts only takes memory; CUDA graphs must not use one.
    return torch.autocast(device.type, torch.bfloat16, cache_enabled=False)


class InPrecision(nn.Module):
    """Runs the forward pass of `network` in `precision`, and returns bf16 outputs as float32."""

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
