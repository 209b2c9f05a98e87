"""The ways to train BN-Inception and to classify with it that the benchmarks time."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from benchmarks.scaffold import Run
from bn.distributed.team import data_parallel
from bn.models import inception
from bn.models.precision import InPrecision
from bn.models.separable import SeparableConv2d
from bn.norm import BatchNorm, fold
from bn.tasks.cuda_graph import CudaGraphStep
from bn.tasks.optim import sgd
from bn.tasks.steps import AutogradStep, Step

CLASSES, GROUP = 1000, 32
RATE = 0.0075
NCHW, NHWC = torch.contiguous_format, torch.channels_last


class Setting(NamedTuple):
    device: torch.device
    batch: int
    size: int = 224  # side of the images
    width: float = 1.0  # of the network, as a share of the paper's
    turn_s: float = 0.3


class Contender(NamedTuple):
    name: str
    precision: str
    make: Callable[[], Run]


def ours(setting: Setting, layout: torch.memory_format = NHWC) -> nn.Module:
    """BN-Inception as it is trained here."""
    norm = "ghost" if setting.batch % GROUP == 0 else "batch"
    model = inception(CLASSES, norm=norm, norm_group=GROUP, width=setting.width, size=setting.size)
    return model.to(setting.device).to(memory_format=layout)


def plain(setting: Setting, layout: torch.memory_format) -> nn.Module:
    """The same network in its usual form."""
    model = inception(CLASSES, norm="batch", width=setting.width, size=setting.size)
    for module in list(model.modules()):
        for name, child in module.named_children():
            if isinstance(child, BatchNorm):
                setattr(module, name, nn.BatchNorm2d(len(child.weight)))
            elif isinstance(child, SeparableConv2d):
                setattr(module, name, nn.Sequential(child.depthwise, child.pointwise))
    return model.to(setting.device).to(memory_format=layout)


def example(setting: Setting, layout: torch.memory_format = NHWC) -> tuple[Tensor, Tensor]:
    """A mini-batch of random images and labels."""
    images = torch.randn(setting.batch, 3, setting.size, setting.size)
    labels = torch.randint(CLASSES, (setting.batch,))
    return images.to(setting.device).contiguous(memory_format=layout), labels.to(setting.device)


def training_step(
    model: nn.Module, precision: str, *, compiled: bool = False, parallel: bool = False
) -> Step:
    forward: Any = torch.compile(model) if compiled else model
    if parallel:
        forward = data_parallel(forward, 1)
    return AutogradStep(InPrecision(forward, precision), sgd(model, RATE, momentum=0.9, weight_decay=4e-5))


def trainings(setting: Setting, compiled: bool) -> list[Contender]:
    def contender(
        name: str,
        network: Callable[[Setting, torch.memory_format], nn.Module],
        precision: str,
        layout: torch.memory_format = NHWC,
        *,
        compile_it: bool = False,
        graph: bool = False,
    ) -> Contender:
        def make() -> Run:
            model = network(setting, layout)
            images, labels = example(setting, layout)
            step = training_step(model, precision, compiled=compile_it)
            if graph:
                step = CudaGraphStep(step, model, images, labels)
            return lambda: step(images, labels)

        return Contender(name, precision, make)

    found = [
        contender("plain eager, NCHW", plain, "float32", NCHW),
        contender("plain eager, channels last", plain, "float32"),
        contender("plain eager, channels last", plain, "bf16"),
    ]
    ways = [("ours", False, False), ("ours, compiled", True, False)]
    if setting.device.type == "cuda":
        if compiled:
            found.append(contender("plain, channels last, compiled", plain, "bf16", compile_it=True))
        ways = [ways[0], ("ours, CUDA graph", False, True), ("ours, compiled, CUDA graph", True, True)]
    for precision in ("float32", "bf16"):
        for name, compile_it, graph in ways:
            if compile_it <= compiled:
                found.append(contender(name, ours, precision, compile_it=compile_it, graph=graph))
    return found


def inferences(setting: Setting, compiled: bool) -> list[Contender]:
    def contender(
        name: str,
        network: Callable[[Setting, torch.memory_format], nn.Module],
        precision: str,
        layout: torch.memory_format = NHWC,
        *,
        folded: bool = False,
        compile_it: bool = False,
    ) -> Contender:
        def make() -> Run:
            model = network(setting, layout)
            with torch.no_grad():
                model(example(setting, layout)[0])  # initializes the statistics for inference
            model.eval()
            if folded:
                model = fold(model)
            forward: Any = torch.compile(model) if compile_it else model
            classify = InPrecision(forward, precision)
            images, _ = example(setting, layout)
            return torch.no_grad()(lambda: classify(images))

        return Contender(name, precision, make)

    found = [
        contender("plain eager, NCHW", plain, "float32", NCHW),
        contender("plain eager, channels last", plain, "float32"),
    ]
    for precision in ("float32", "bf16"):
        found.append(contender("ours, evaluation mode", ours, precision))
        found.append(contender("ours, BN folded", ours, precision, folded=True))
        if compiled:
            found.append(
                contender("ours, BN folded, compiled", ours, precision, folded=True, compile_it=True)
            )
    return found
