"""The ways to make a training step of the MNIST network that benchmarks/mnist.py times."""

import dataclasses
from collections.abc import Callable
from itertools import pairwise
from typing import cast

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms.functional import to_tensor

from benchmarks.scaffold import Run, counting, forever
from bn.config import Config
from bn.data.mnist import Examples
from bn.data.order import EpochOrder
from bn.models.build import build_model
from bn.models.mlp import MLP
from bn.tasks.cuda_graph import CudaGraphStep
from bn.tasks.mnist import build_step

SIZES = (784, 100, 100, 100, 10)
BATCH = 60


def contenders(
    configs: list[Config], data: Examples, device: torch.device, compiled: bool
) -> dict[str, tuple[Run, Run]]:
    """The timed steps by name, each without and with BN."""

    def both(make: Callable[[Config], Run]) -> tuple[Run, Run]:
        return make(configs[0]), make(configs[1])

    floor = matrix_products(device)
    found = {
        "floor: its matrix products alone": (floor, floor),
        "loop with a DataLoader": both(lambda config: dataloader_loop(config, data, device)),
        "plain eager loop, data resident": both(lambda config: plain_loop(config, data, device)),
        "ours, readable path (autograd)": both(lambda config: ours(config, data, device, "autograd")),
        "ours": both(lambda config: ours(config, data, device, "fused")),
    }
    if device.type == "cuda":
        found["ours, replayed as a CUDA graph"] = both(lambda c: ours(c, data, device, "fused", True))
    if compiled:
        found["plain loop, forward and backward compiled"] = both(
            lambda config: plain_loop(config, data, device, compiled=True)
        )
        found["whole step compiled, update included"] = both(
            lambda config: compiled_step(config, data, device)
        )
    return found


def matrix_products(device: torch.device) -> Run:
    """The eleven products of a step: four forward, four for dW, three for the inputs' gradients."""
    weights = [torch.randn(n, m, device=device) * 0.1 for m, n in pairwise(SIZES)]
    u = [torch.rand(BATCH, size, device=device) for size in SIZES]
    d = [torch.rand(BATCH, size, device=device) for size in SIZES]
    out = [torch.empty(BATCH, size, device=device) for size in SIZES]
    dw = [torch.empty_like(weight) for weight in weights]

    def step() -> None:
        for i, weight in enumerate(weights):
            torch.mm(u[i], weight.t(), out=out[i + 1])
        for i, weight in reversed(list(enumerate(weights))):
            torch.mm(d[i + 1].t(), u[i], out=dw[i])
            if i:
                torch.mm(d[i + 1], weight, out=out[i])

    return step


def plain_model(config: Config, device: torch.device) -> nn.Sequential:
    """The network written with torch.nn alone."""
    with_bn = config.model.norm == "batch"
    layers: list[nn.Module] = []
    for m, n in pairwise(SIZES[:-1]):
        layers += [nn.Linear(m, n, bias=not with_bn), *([nn.BatchNorm1d(n)] if with_bn else []), nn.Sigmoid()]
    model = nn.Sequential(*layers, nn.Linear(SIZES[-2], SIZES[-1]))
    for layer in model:
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, std=0.1)
    return model.to(device)


def plain_loop(config: Config, data: Examples, device: torch.device, compiled: bool = False) -> Run:
    model = plain_model(config, device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    draw = counting(EpochOrder(len(data.labels), BATCH, 0, device))

    def loss_of(images: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(model(images.float()), labels)

    forward = torch.compile(loss_of) if compiled else loss_of

    def step() -> Tensor:
        indices = draw()
        loss = forward(data.images[indices], data.labels[indices])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    return step


def dataloader_loop(config: Config, data: Examples, device: torch.device) -> Run:
    """A loop as usually published: PIL images converted one by one, and the loss read at every step."""

    class Digits(Dataset):
        images, labels = data.images.cpu().view(-1, 28, 28).numpy() * 255, data.labels.tolist()

        def __len__(self) -> int:
            return len(self.labels)

        def __getitem__(self, index: int) -> tuple[Tensor, int]:
            return (to_tensor(Image.fromarray(self.images[index])) > 0.5).float(), self.labels[index]

    model = plain_model(config, device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    loader = DataLoader(Digits(), batch_size=BATCH, shuffle=True)
    mini_batches = forever(loader)

    def step() -> float:
        images, labels = next(mini_batches)
        loss = F.cross_entropy(model(images.to(device).flatten(1)), labels.to(device))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def compiled_step(config: Config, data: Examples, device: torch.device) -> Run:
    """Forward, backward and the update of every parameter in one compiled graph."""
    model = plain_model(config, device)
    parameters: dict[str, Tensor] = dict(model.named_parameters())
    buffers = dict(model.named_buffers())
    draw = counting(EpochOrder(len(data.labels), BATCH, 0, device))

    def loss_of(parameters: dict, buffers: dict, images: Tensor, labels: Tensor) -> Tensor:
        logits = torch.func.functional_call(model, (parameters, buffers), (images.float(),))
        return F.cross_entropy(logits, labels)

    @torch.compile
    def update(images: Tensor, labels: Tensor) -> Tensor:
        gradients, loss = torch.func.grad_and_value(loss_of)(parameters, buffers, images, labels)
        for name, parameter in parameters.items():
            parameter.sub_(gradients[name], alpha=0.1)
        return loss

    def step() -> None:
        indices = draw()
        with torch.no_grad():
            update(data.images[indices], data.labels[indices])

    return step


def ours(config: Config, data: Examples, device: torch.device, path: str, graph: bool = False) -> Run:
    """The step of train.py with `step_path=path`."""
    model = cast(MLP, build_model(config)).to(device)
    step = build_step(dataclasses.replace(config, step_path=path), model)
    draw = counting(EpochOrder(len(data.labels), BATCH, 0, device))
    if graph:
        step = CudaGraphStep(step, model, *data.batch(draw()))
    losses = torch.zeros(100, device=device)

    def one() -> Tensor:
        losses[7] = loss = step(*data.batch(draw()))  # kept without waiting, as in training
        return loss

    return one
