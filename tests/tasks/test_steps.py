"""The fused step and the readable step give the same numbers."""

import copy
from collections.abc import Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from bn.data.mnist import Examples, load_mnist
from bn.data.order import EpochOrder
from bn.data.seeds import generator
from bn.files import REPOSITORY
from bn.fused_mlp import FusedStep
from bn.models import mlp
from bn.models.mlp import MLP
from bn.norm import BatchNorm, reference_backward, reference_forward
from bn.tasks.optim import sgd
from bn.tasks.steps import AutogradStep

BATCH, LR = 12, 0.3


@pytest.fixture
def data() -> Examples:
    images = torch.randint(0, 2, (200, 784), dtype=torch.uint8, generator=generator(0, "images"))
    return Examples(images, torch.randint(0, 10, (200,), generator=generator(0, "labels")))


def model_of(dtype: torch.dtype, norm: str, nonlinearity: str = "sigmoid", hidden=(30, 20)) -> MLP:
    return mlp(
        hidden=hidden, norm=norm, nonlinearity=nonlinearity, init_std=0.2, generator=generator(3)
    ).to(dtype)  # fmt: skip


def batches(data: Examples, steps: int, dtype: torch.dtype) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    draws = generator(0, "draws")
    for _ in range(steps):
        images, labels = data.batch(torch.randperm(200, generator=draws)[:BATCH])
        yield images.to(dtype), labels


@pytest.mark.parametrize("norm", ["none", "batch"])
@pytest.mark.parametrize("nonlinearity", ["sigmoid", "tanh", "relu"])
@pytest.mark.parametrize("decay", [0.0, 0.01])
def test_fused_equals_autograd_in_float64(data: Examples, norm: str, nonlinearity: str, decay: float) -> None:
    """Losses, parameters, moving averages and counts agree over 40 steps, to the rounding of float64."""
    readable = model_of(torch.float64, norm, nonlinearity)
    fast = copy.deepcopy(readable)
    slow_step = AutogradStep(readable, sgd(readable, LR, weight_decay=decay))
    fast_step = FusedStep(fast, batch=BATCH, lr=LR, decay=decay)
    before = copy.deepcopy(readable.state_dict())
    for drawn in batches(data, 40, torch.float64):
        torch.testing.assert_close(fast_step(*drawn), slow_step(*drawn), rtol=1e-10, atol=1e-12)
    expected = readable.state_dict()
    torch.testing.assert_close(fast.state_dict(), expected, rtol=1e-8, atol=1e-11)
    assert all(not torch.equal(before[name], expected[name]) for name in expected)  # all have changed


@pytest.mark.parametrize("norm", ["none", "batch"])
def test_fused_equals_autograd_in_float32_on_the_real_network(data: Examples, norm: str) -> None:
    readable = model_of(torch.float32, norm, hidden=(100, 100, 100))
    fast = copy.deepcopy(readable)
    slow_step = AutogradStep(readable, sgd(readable, LR))
    fast_step = FusedStep(fast, batch=BATCH, lr=LR)
    for drawn in batches(data, 10, torch.float32):
        torch.testing.assert_close(fast_step(*drawn), slow_step(*drawn), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(fast.state_dict(), readable.state_dict(), rtol=1e-4, atol=1e-5)


def test_fused_step_equals_the_papers_backward(data: Examples) -> None:
    """One step equals a forward and backward pass with the written-out reference."""
    model = model_of(torch.float64, "batch", hidden=(30,))
    (layer,) = model.layers
    w, v, b = (
        t.detach().clone() for t in (layer.linear.weight, model.classifier.weight, model.classifier.bias)
    )
    gamma, beta = torch.ones(30).double(), torch.zeros(30).double()
    images, labels = next(batches(data, 1, torch.float64))

    x = images @ w.T
    z = torch.sigmoid(reference_forward(x, gamma, beta).y)
    p = torch.softmax(z @ v.T + b, 1)
    dlogits = (p - F.one_hot(labels, 10)) / BATCH
    gradients = reference_backward(dlogits @ v * z * (1 - z), x, gamma)

    loss = FusedStep(model, batch=BATCH, lr=LR)(images, labels)
    torch.testing.assert_close(loss, -p[range(BATCH), labels].log().mean(), rtol=1e-12, atol=0)
    close: dict[str, Any] = {"rtol": 1e-10, "atol": 1e-13}
    torch.testing.assert_close(layer.linear.weight.data, w - LR * gradients.x.T @ images, **close)
    torch.testing.assert_close(layer.norm.weight.data, gamma - LR * gradients.gamma, **close)
    torch.testing.assert_close(layer.norm.bias.data, beta - LR * gradients.beta, **close)
    torch.testing.assert_close(model.classifier.weight.data, v - LR * dlogits.T @ z, **close)
    torch.testing.assert_close(model.classifier.bias.data, b - LR * dlogits.sum(0), **close)


def test_weight_decay_excludes_gamma_beta_and_biases() -> None:
    """With zero gradients only the matrices shrink."""
    for norm in ("none", "batch"):
        model = model_of(torch.float64, norm)
        before = copy.deepcopy(model.state_dict())
        optimizer = sgd(model, LR, weight_decay=0.1)
        for parameter in model.parameters():
            parameter.grad = torch.zeros_like(parameter)
        optimizer.step()
        for name, parameter in model.named_parameters():
            factor = 1 - LR * 0.1 if parameter.ndim == 2 else 1.0
            torch.testing.assert_close(parameter.data, before[name] * factor, rtol=1e-15, atol=0)


def test_weight_decay_excludes_per_activation_gamma_and_beta() -> None:
    """They have three dimensions, so the number of dimensions does not identify weights."""
    model = torch.nn.Sequential(torch.nn.Conv2d(1, 3, 2), BatchNorm((3, 4, 4)))
    groups = sgd(model, LR, weight_decay=0.1).param_groups
    decayed = [p for group in groups if group["weight_decay"] for p in group["params"]]
    assert [p is model[0].weight for p in decayed] == [True]
    assert sum(len(group["params"]) for group in groups) == 4


def test_autograd_step_restores_its_momentum(data: Examples) -> None:
    """A new step with the restored state continues bit for bit."""
    whole, first = (model_of(torch.float32, "batch") for _ in range(2))
    draws = list(batches(data, 6, torch.float32))
    step = AutogradStep(whole, sgd(whole, LR, momentum=0.9))
    for drawn in draws:
        step(*drawn)
    step = AutogradStep(first, sgd(first, LR, momentum=0.9))
    for drawn in draws[:3]:
        step(*drawn)
    second = model_of(torch.float32, "batch")
    second.load_state_dict(first.state_dict())
    resumed = AutogradStep(second, sgd(second, LR, momentum=0.9))
    resumed.load_state_dict(step.state_dict())
    for drawn in draws[3:]:
        resumed(*drawn)
    for name, tensor in whole.state_dict().items():
        assert torch.equal(second.state_dict()[name], tensor), name


# Recorded from the readable step in float64, with learning rate 0.1, std 0.1 and seed 0.
FIRST_LOSSES = {
    "none": [2.406108942560782, 2.422548413704151, 2.2987780348937674, 2.3011400247933738, 2.320041370939416],
    "batch": [
        2.393889774446798,
        2.3777058821916808,
        2.2217239628660344,
        2.2086818525521448,
        2.2294035648432957,
    ],
}


def test_the_losses_of_the_first_steps_have_not_changed() -> None:
    """A change that does not concern numerics must not change them.

    Only the initial weights, drawn in float32, may differ between processors, in the last digit.
    """
    train = load_mnist(REPOSITORY / "data/mnist").train
    order = EpochOrder(60_000, 60, seed=0, device=torch.device("cpu"))
    for norm, expected in FIRST_LOSSES.items():
        model = mlp(norm=norm, generator=generator(0, "init")).double()
        step = FusedStep(model, batch=60, lr=0.1)
        batches = (train.batch(order(i)) for i in range(5))
        losses = [step(images.double(), labels).item() for images, labels in batches]
        assert losses == pytest.approx(expected, rel=1e-5), norm
