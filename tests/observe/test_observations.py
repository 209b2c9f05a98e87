"""Observations chosen in the config: what they find, when, and that nothing else changes."""

import math
from itertools import product
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from bn.cli import planned_run
from bn.errors import Interrupted, UserError
from bn.models import mlp
from bn.observe.norms import GradientNorms, WeightNorms
from bn.observe.observation import Subject
from bn.observe.saturation import Saturation
from bn.run.directory import read_lines
from bn.seeds import generator

ALL = "observe=[percentiles,gradient_norms,weight_norms,saturation]"
NUMBERS = ("gradient_norm", "weight_norm", "saturated")
IMAGES = (
    "experiment=bn_x5", "scale=smoke", "model.width=0.01", "optim.batch=8", "model.norm_group=8", "steps=12",
    "steps_factor=1", "log_every=4", "checkpoint_every=5", "probe.examples=8", "model.dropout=0.2",
)  # fmt: skip


def subject_of(nonlinearity="sigmoid", norm="batch") -> Any:
    config = planned_run(["experiment=mnist_bn", f"model.nonlinearity={nonlinearity}"]).config
    model = mlp(hidden=(9, 8), norm=norm, nonlinearity=nonlinearity, generator=generator(2))
    images = torch.randn(40, 784, generator=generator(1))
    labels = torch.arange(40) % 10
    layers = {f"layer{i}": layer for i, layer in enumerate(model.layers, start=1)}
    return Subject(config, model, model, layers, list(zip(images.split(20), labels.split(20), strict=True)))


def test_the_gradients_are_those_of_the_loss():
    subject = subject_of()
    found = GradientNorms(subject).observe(3)
    images, labels = subject.batches[0]
    F.cross_entropy(subject.model(images), labels).backward()
    for name, layer in subject.layers.items():
        assert layer.linear.weight.grad is not None
        norm = layer.linear.weight.grad.norm().item()
        assert found[f"observe/gradient_norm/{name}"] == pytest.approx(norm, rel=1e-5)


def test_larger_weights_lead_to_smaller_gradients():
    """Section 3.3, to the rounding of eps."""
    subject = subject_of()
    before, weight = (kind(subject).observe(0) for kind in (GradientNorms, WeightNorms))
    subject.layers["layer1"].linear.weight.data *= 2
    after, heavier = (kind(subject).observe(0) for kind in (GradientNorms, WeightNorms))
    name = "layer1"
    assert heavier[f"observe/weight_norm/{name}"] == pytest.approx(2 * weight[f"observe/weight_norm/{name}"])
    expected = before[f"observe/gradient_norm/{name}"] / 2
    assert after[f"observe/gradient_norm/{name}"] == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize(
    ("nonlinearity", "saturated"),
    [
        ("sigmoid", lambda z: (z < 0.05) | (z > 0.95)),
        ("relu", lambda z: z == 0),
        ("tanh", lambda z: z.abs() > 0.9),
    ],
)
def test_saturated_units_are_counted(nonlinearity, saturated):
    subject = subject_of(nonlinearity)
    for layer in subject.layers.values():
        layer.norm.weight.data *= 3
    found = Saturation(subject).observe(0)
    images = [images for images, _ in subject.batches]
    z = torch.cat([subject.layers["layer1"](each) for each in images])
    share = saturated(z).double().mean().item()
    assert 0 < share < 1
    assert found["observe/saturated/layer1"] == pytest.approx(share)


@pytest.mark.parametrize("kind", [GradientNorms, WeightNorms, Saturation])
def test_looking_changes_nothing(kind):
    subject = subject_of()
    subject.model.eval()
    before = {name: tensor.clone() for name, tensor in subject.model.state_dict().items()}
    random = torch.get_rng_state()
    kind(subject).observe(0)
    assert torch.equal(torch.get_rng_state(), random)
    assert not subject.model.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in subject.model.state_dict().items())
    assert all(parameter.grad is None for parameter in subject.model.parameters())


def numbers_of(run):
    lines = read_lines(run.path / "metrics.jsonl")
    return {
        (line["step"], key): value
        for line in lines
        for key, value in line.items()
        if key.startswith("observe/")
    }


@pytest.mark.parametrize(
    "overrides",
    [
        pytest.param(("experiment=mnist_bn",), id="mlp"),
        pytest.param(IMAGES, id="inception", marks=pytest.mark.slow),
    ],
)
def test_they_are_recorded_at_their_steps_resumed_and_leave_training_alone(
    trained, stop_after, undisturbed, bits, overrides
):
    for steps in (2, 5):
        with pytest.raises(Interrupted):
            trained(*overrides, ALL, stop_signal=stop_after(steps))
    run = trained(*overrides, ALL)
    assert bits(run) == bits(undisturbed(*overrides, ALL))
    found = numbers_of(run)
    config = run.config
    layers = config.probe.layers or ("layer1", "layer2", "layer3")
    logged = {*range(0, config.length + 1, config.log_every), config.length}
    at = {"saturated": config.probe.at.steps(config.length)}
    expected = {
        (step, f"observe/{name}/{layer}")
        for name, layer in product(NUMBERS, layers)
        for step in at.get(name, logged)
    }
    assert set(found) == expected
    assert all(map(math.isfinite, found.values()))

    plain, observed = bits(undisturbed(*overrides)), bits(run)
    assert plain["activations"] == observed["activations"]
    assert plain["checkpoint"]["model"] == observed["checkpoint"]["model"]


def test_the_fused_and_the_readable_step_are_observed_alike(trained):
    fused, readable = (
        numbers_of(trained("experiment=mnist_bn", ALL, f"step_path={path}")) for path in ("fused", "autograd")
    )
    assert fused.keys() == readable.keys()
    for key, value in fused.items():
        assert readable[key] == pytest.approx(value, rel=1e-3, abs=1e-3), key


def test_none_are_observed_where_none_are_chosen(trained):
    run = trained("experiment=mnist_bn", "observe=[]", "steps=20")
    assert not (run.path / "activations.npz").exists()
    assert not numbers_of(run)


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (
            ["observe=[norms]"],
            "observe[0]='norms': accepted: percentiles, gradient_norms, weight_norms, saturation, "
            "population_gap",
        ),
        (
            ["observe=[saturation]", "model.nonlinearity=gelu"],
            "model.nonlinearity=gelu: accepted with observe=[saturation]: relu, sigmoid, tanh",
        ),
        (
            ["observe=[saturation,saturation]"],
            "observe=['saturation', 'saturation']: accepted: each value once",
        ),
    ],
)  # fmt: skip
def test_what_is_refused(overrides, line):
    with pytest.raises(UserError) as error:
        planned_run(["experiment=mnist_bn", *overrides])
    assert str(error.value) == line
