"""The clock of the benchmarks, on either device."""

import time
from collections.abc import Callable

import torch


def seconds(run: Callable[[], object], repeats: int, device: torch.device) -> float:
    """Seconds a call, the device waited for before and after."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    began = time.perf_counter()
    for _ in range(repeats):
        run()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return (time.perf_counter() - began) / repeats
