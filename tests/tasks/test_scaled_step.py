"""fp16: a step whose gradients overflow is skipped, and leaves no trace in the moving averages."""

import copy

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from bn.norm import BatchNorm
from bn.seeds import generator
from bn.tasks.optim import sgd
from bn.tasks.precision import InPrecision
from bn.tasks.scaled import ScaledStep
from bn.tasks.steps import AutogradStep


@pytest.fixture
def model():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, bias=False), BatchNorm(8), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 6 * 6, 5)
    )  # fmt: skip


def batch(index):
    draws = generator(index, "batch")
    return torch.randn(16, 3, 8, 8, generator=draws), torch.randint(5, (16,), generator=draws)


def scaled(model, **options):
    network = InPrecision(model, "fp16")
    return ScaledStep(network, sgd(network, 0.1, momentum=0.9), **options)


def fused(step):
    """As on a GPU: torch's fused kernel, which skips by itself, with the rate in a tensor."""
    for group in step.optimizer.param_groups:
        group.update(fused=True, foreach=False, lr=torch.tensor(group["lr"]))
    step.optimizer._step_supports_amp_scaling = True
    return step


@pytest.mark.parametrize("bad", [torch.inf, torch.nan])
@pytest.mark.parametrize("steps_before", [0, 1])
@pytest.mark.parametrize("kernel", [lambda step: step, fused], ids=["unfused", "fused"])
def test_an_infinite_batch_leaves_everything_as_it_was(model, bad, steps_before, kernel):
    step = kernel(scaled(model, scale=1024.0))
    for _ in range(steps_before):
        step(*batch(0))
    before = copy.deepcopy(model.state_dict())
    momenta = copy.deepcopy(step.optimizer.state_dict()["state"])
    images, labels = batch(1)
    images[3, 1, 2, 2] = bad
    step(images, labels)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name]), name
    assert_close(step.optimizer.state_dict()["state"], momenta, rtol=0, atol=0)
    assert step.scaler.get_scale() == 512.0
    assert step.skipped == 1
    step(*batch(2))
    for name, tensor in model.state_dict().items():
        assert tensor.isfinite().all()
        assert not torch.equal(tensor, before[name]), name


def test_gradients_that_overflow_through_the_scale_alone(model):
    """The batch is sound, only the scale too large: its statistics must not enter twice."""
    step = scaled(model, scale=2.0**40)
    before = copy.deepcopy(model.state_dict())
    step(*batch(0))
    assert_close(dict(model.state_dict()), dict(before), rtol=0, atol=0)
    while step.scaler.get_scale() > 2.0**10:
        step.scaler.update(step.scaler.get_scale() / 2)
    step(*batch(0))
    once = nn.Sequential(copy.deepcopy(model[0]), BatchNorm(8))
    once[0].load_state_dict({"weight": before["0.weight"]})
    once(batch(0)[0])
    norm = model[1]
    assert norm.num_batches_tracked == 1
    assert_close(norm.running_mean, once[1].running_mean, rtol=1e-2, atol=1e-3)
    assert_close(norm.running_var, once[1].running_var, rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize("kernel", [lambda step: step, fused], ids=["unfused", "fused"])
def test_it_computes_the_step_of_float32(model, kernel):
    """To the precision of fp16; over ten steps, with momentum."""
    exact = copy.deepcopy(model)
    readable = AutogradStep(exact, sgd(exact, 0.01, momentum=0.9))
    network = InPrecision(model, "fp16")
    step = kernel(ScaledStep(network, sgd(network, 0.01, momentum=0.9), scale=1024.0))
    for index in range(10):
        assert_close(step(*batch(index)), readable(*batch(index)), rtol=2e-2, atol=2e-2)
    for name, tensor in model.state_dict().items():
        assert_close(tensor, exact.state_dict()[name], rtol=5e-2, atol=1e-2)


def test_the_scale_is_part_of_its_state(model):
    step = scaled(model, scale=1024.0)
    images, labels = batch(0)
    step(images * torch.inf, labels)
    other = scaled(copy.deepcopy(model), scale=3.0)
    other.load_state_dict(copy.deepcopy(step.state_dict()))
    assert other.scaler.get_scale() == 512.0
    assert other.skipped == 1


def test_how_it_is_computed_is_not_the_checkpoints_choice(model):
    """A run of a CPU goes on where the fused kernels and the rate are on the device, and the other way."""
    step, other = scaled(model), fused(scaled(copy.deepcopy(model)))
    for one in (step, other):
        one.set_rate(0.25)
        one(*batch(0))
    rate = other.optimizer.param_groups[0]["lr"]
    states = [copy.deepcopy(one.state_dict()) for one in (step, other)]
    other.set_rate(0.5)
    other.load_state_dict(states[0])
    step.load_state_dict(states[1])
    for group in other.optimizer.param_groups:
        assert group["fused"] is True
        assert group["lr"].item() == 0.25
    assert other.optimizer.param_groups[0]["lr"] is rate
    for group in step.optimizer.param_groups:
        assert not group["fused"]
        assert group["lr"] == 0.25
        assert isinstance(group["lr"], float)
