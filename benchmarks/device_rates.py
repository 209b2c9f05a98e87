"""What a device does: the rates of large operations, and the kernels of a step."""

import statistics
from typing import Any

import torch

from benchmarks.scaffold import Run, seconds


def matrix_rate(device: torch.device, precision: str, tiny: bool = False) -> float:
    """Multiply-adds per second of a large matrix product of random numbers."""
    n = 64 if tiny else 8192 if device.type == "cuda" else 2048
    dtype = {"float32": torch.float32, "bf16": torch.bfloat16}[precision]
    a, b = (torch.randn(n, n, device=device).to(dtype) for _ in range(2))
    for _ in range(3):
        torch.mm(a, b)
    return n**3 / statistics.median(seconds(lambda: torch.mm(a, b), 5, device) for _ in range(7))


def copy_rate(device: torch.device) -> float:
    """GB read and written per second by a large copy."""
    source = torch.randn((1 << 30) if device.type == "cuda" else 1 << 16, device=device)
    target = torch.empty_like(source)
    for _ in range(3):
        target.copy_(source)
    return 2e-9 * source.nbytes / seconds(lambda: target.copy_(source), 10, device)


def top_five(run: Run) -> list[tuple[str, float]]:
    """The five most expensive kernels of a mini-batch, and their share of the GPU's time."""
    events = sorted(kernels_of(run), key=lambda event: -event.self_device_time_total)
    total = sum(event.self_device_time_total for event in events)
    return [(event.key[:80], event.self_device_time_total / total) for event in events[:5]]


def number_of_kernels(run: Run) -> int:
    """The kernels and copies of a step on the GPU."""
    return sum(event.count for event in kernels_of(run) if event.self_device_time_total)


def kernels_of(run: Run) -> list[Any]:
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
        run()
        torch.cuda.synchronize()
    return list(profile.key_averages())
