"""Count the floor of a training step at 224 in bf16: arithmetic, memory traffic and launches; needs no GPU.

    python benchmarks/step_budget.py

Counts BN-x5's network for 256 images: every tensor between two kernels is written once, and read once by each
kernel that needs it, as far as a compiler fuses them (docs/speed.md). The throughputs are those of copies and
large matrix products on such GPUs.
"""

import sys
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # this clone's code, whichever is installed

from benchmarks.scaffold import options
from bn.models import inception
from bn.models.counts import counts
from bn.models.inception import DEPTH_MULTIPLIER, Inception, InceptionModule, StridedMaxPool
from bn.models.separable import SeparableConv2d

BATCH, BYTES = 256, 2  # of bf16
CARDS = {"H100": (3.0e12, 7.9e14), "H200": (4.3e12, 7.9e14)}  # bytes/s, and operations/s in bf16
LAUNCH_S = 2e-6  # the least time of a kernel in a CUDA graph


def main() -> None:
    options(__doc__).parse_args()
    network = inception(1000)
    operations, moved = 2 * 3 * BATCH * executed(network), {k: v * BATCH for k, v in traffic(network).items()}
    print(f"{operations / 1e12:.2f} T operations, {sum(moved.values()) / 1e9:.1f} GB, {launches()} kernels")
    for what, count in moved.items():
        print(f"  {what}: {count / 1e9:.1f} GB")
    for card, (bandwidth, rate) in CARDS.items():
        print(
            f"{card}: arithmetic {1e3 * operations / rate:.1f} ms, "
            f"memory {1e3 * sum(moved.values()) / bandwidth:.1f} ms, "
            f"launches {1e3 * launches() * LAUNCH_S:.1f} ms"
        )


def executed(network: Inception) -> int:
    """Multiply-adds of a forward pass, with the separable stem computed as a dense convolution."""
    as_separable = sum(row.multiply_adds for row in counts(network))
    stem = network.conv1.conv
    assert isinstance(stem, SeparableConv2d)
    places = network.conv1.side**2
    channels, patch = stem.depthwise.groups, stem.depthwise.kernel_size[0] ** 2
    separable = DEPTH_MULTIPLIER * channels * (patch + stem.out_channels)
    return as_separable + places * (channels * patch * stem.out_channels - separable)


def traffic(network: nn.Module) -> dict[str, int]:
    """The memory traffic of a training step in bytes per image, by kind of layer."""
    seen: Counter[str] = Counter()

    def note(module: nn.Module, inputs: tuple[torch.Tensor], output: torch.Tensor) -> None:
        if isinstance(module, InceptionModule):
            seen["concatenated"] += output.numel()
        elif isinstance(module, (StridedMaxPool, nn.AvgPool2d, nn.MaxPool2d)):
            seen["pooled"] += inputs[0].numel() + output.numel()
        else:
            seen["read by convolutions"] += inputs[0].numel()
            seen["normalized"] += output.numel()

    kinds: tuple[Any, ...] = (
        InceptionModule, StridedMaxPool, nn.AvgPool2d, nn.MaxPool2d, nn.Conv2d, SeparableConv2d
    )  # fmt: skip
    for name, module in network.named_modules():
        if isinstance(module, kinds) and not name.startswith("conv1.conv."):
            module.register_forward_hook(note)
    with torch.no_grad():
        network.eval()
        for module in network.modules():
            if hasattr(module, "num_batches_tracked"):
                module.num_batches_tracked.fill_(1)  # type: ignore[union-attr]
        network(torch.zeros(1, 3, 224, 224))
    read, normalized = seen["read by convolutions"], seen["normalized"]
    shared = read - normalized  # inputs of several branches, whose gradients are added
    numbers = {
        # y = W u; dL/du of dL/dy; dL/dW of both
        "convolutions": 3 * (read + normalized),
        # statistics: one read; normalization and ReLU: read, write. Backward: the sums read two, dL/du too,
        # and is written
        "batch normalization and ReLU": (3 + 5) * normalized,
        "pools": 2 * seen["pooled"],
        "concatenations": 2 * 2 * seen["concatenated"],
        "gradients of branches, added": 3 * shared,
    }
    return {what: BYTES * count for what, count in numbers.items()}


def launches() -> int:
    """Compiled kernels: 3 of the convolution and 5 of BN in each of 69 units, and some 60 others."""
    return 69 * (3 + 5) + 60


if __name__ == "__main__":
    main()
