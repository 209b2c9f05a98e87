"""Observations: their values, their steps, and that they change nothing else."""

import math
from itertools import product

import pytest
import torch
import torch.nn.functional as F

from bn.cli import planned_run
from bn.config.choices import OBSERVATIONS
from bn.errors import Interrupted, UserError
from bn.observe.amplification import Amplification
from bn.observe.correlations import Correlations
from bn.observe.jacobians import Jacobians
from bn.observe.norms import GradientNorms, InputGradients, WeightNorms
from bn.observe.saturation import Saturation
from bn.observe.shift import GradientShift, InputShift
from bn.run.directory import read_lines

ALL = (
    "observe=[percentiles,gradient_norms,weight_norms,input_gradients,saturation,shift,gradient_shift,"
    "amplification,correlations]"
)
NUMBERS = (
    "gradient_norm", "weight_norm", "input_gradient", "saturated", "shift", "gradient_shift",
    "gradient_cosine", "amplified", "correlation", "correlation_sampling", "correlation_change",
)  # fmt: skip
IMAGES = (
    "experiment=bn_x5", "scale=smoke", "model.width=0.01", "optim.batch=8", "model.norm_group=8", "steps=12",
    "steps_factor=1", "log_every=4", "checkpoint_every=5", "probe.examples=8", "model.dropout=0.2",
)  # fmt: skip


def test_gradient_norms_equal_those_of_the_loss(subject_of):
    subject = subject_of()
    found = GradientNorms(subject).observe(3)
    images, labels = subject.batches[0]
    F.cross_entropy(subject.model(images), labels).backward()
    for name, layer in subject.layers.items():
        assert layer.linear.weight.grad is not None
        norm = layer.linear.weight.grad.norm().item()
        assert found[f"observe/gradient_norm/{name}"] == pytest.approx(norm, rel=1e-5)


def test_larger_weights_lead_to_smaller_gradients(subject_of):
    """Section 3.3, approximately since eps > 0."""
    subject = subject_of()
    before, weight = (kind(subject).observe(0) for kind in (GradientNorms, WeightNorms))
    subject.layers["layer1"].linear.weight.data *= 2
    after, heavier = (kind(subject).observe(0) for kind in (GradientNorms, WeightNorms))
    name = "layer1"
    assert heavier[f"observe/weight_norm/{name}"] == pytest.approx(2 * weight[f"observe/weight_norm/{name}"])
    expected = before[f"observe/gradient_norm/{name}"] / 2
    assert after[f"observe/gradient_norm/{name}"] == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize(
    ("nonlinearity", "function"),
    [
        ("sigmoid", torch.sigmoid),
        ("relu", torch.relu),
        ("tanh", torch.tanh),
    ],
)
def test_saturated_outputs_have_a_derivative_below_a_tenth_of_the_maximum(subject_of, nonlinearity, function):
    subject = subject_of(nonlinearity)
    for layer in subject.layers.values():
        layer.norm.weight.data *= 3
    found = Saturation(subject).observe(0)
    images = [images for images, _ in subject.batches]
    layer = subject.layers["layer1"]
    x = torch.cat([layer.norm(layer.linear(each)) for each in images]).detach().requires_grad_()
    (derivative,) = torch.autograd.grad(function(x).sum(), x)
    most = {"sigmoid": 0.25, "relu": 1, "tanh": 1}[nonlinearity]
    share = (derivative < most / 10).double().mean().item()
    assert 0 < share < 1
    assert found["observe/saturated/layer1"] == pytest.approx(share)


def test_the_gradient_with_respect_to_a_layers_input(subject_of):
    """The norms equal those of the chain rule, written out from the logits back."""
    subject = subject_of(norm="none")
    found = InputGradients(subject).observe(0)
    images, labels = subject.batches[0]
    z = [images]
    for layer in subject.layers.values():
        z.append(torch.sigmoid(z[-1] @ layer.linear.weight.T + layer.linear.bias))
    logits = subject.model.classifier(z[-1])
    back = (logits.softmax(1) - F.one_hot(labels, 10)) / len(labels) @ subject.model.classifier.weight
    for (name, layer), out in zip(reversed(subject.layers.items()), reversed(z), strict=False):
        back = (back * out * (1 - out)) @ layer.linear.weight
        assert found[f"observe/input_gradient/{name}"] == pytest.approx(back.norm().item(), rel=1e-4)


@pytest.mark.parametrize(
    "kind",
    [
        GradientNorms, WeightNorms, InputGradients, Saturation, InputShift, GradientShift, Amplification,
        Correlations, Jacobians,
    ],
)  # fmt: skip
def test_observing_changes_nothing(subject_of, kind):
    subject = subject_of()
    subject.model.eval()
    before = {name: tensor.clone() for name, tensor in subject.model.state_dict().items()}
    random = torch.get_rng_state()
    observation = kind(subject)
    for step in (0, 1):
        observation.observe(step)
    assert torch.equal(torch.get_rng_state(), random)
    assert not subject.model.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in subject.model.state_dict().items())
    assert all(parameter.grad is None for parameter in subject.model.parameters())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in subject.model.modules())


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
def test_they_are_recorded_at_their_steps_resume_and_do_not_affect_training(
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
    probed, tenth = config.probe.at.steps(config.length), config.length // 10 or 1
    after = {step + 1 for step in probed if step < config.length}
    at = {
        "gradient_norm": logged, "weight_norm": logged, "shift": after, "gradient_shift": after,
        "gradient_cosine": after, "correlation": probed | {tenth}, "correlation_sampling": probed | {tenth},
        "correlation_change": {step for step in probed | {tenth} if step >= tenth},
    }  # fmt: skip
    expected = {
        (step, f"observe/{name}/{layer}")
        for name, layer in product(NUMBERS, layers)
        for step in at.get(name, probed)
        if not (name.startswith("gradient_") and name != "gradient_norm" and layer == "layer1")
    }
    assert set(found) == expected
    assert all(map(math.isfinite, found.values()))

    plain, observed = bits(undisturbed(*overrides)), bits(run)
    assert plain["activations"] == observed["activations"]
    assert plain["checkpoint"]["model"] == observed["checkpoint"]["model"]


def test_the_fused_and_the_readable_step_have_the_same_observations(trained):
    fused, readable = (
        numbers_of(trained("experiment=mnist_bn", ALL, f"step_path={path}")) for path in ("fused", "autograd")
    )
    assert fused.keys() == readable.keys()
    for key, value in fused.items():
        assert readable[key] == pytest.approx(value, rel=1e-3, abs=1e-3), key


def test_no_observations_if_none_are_chosen(trained):
    run = trained("experiment=mnist_bn", "observe=[]", "steps=20")
    assert not (run.path / "activations.npz").exists()
    assert not numbers_of(run)


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (
            ["observe=[norms]"],
            f"observe[0]='norms': accepted: {', '.join(OBSERVATIONS)}",
        ),
        (
            ["observe=[saturation]", "model.nonlinearity=gelu"],
            "model.nonlinearity=gelu: accepted with observe=[saturation]: relu, sigmoid, tanh",
        ),
        (
            ["observe=[saturation,saturation]"],
            f"observe=[saturation,saturation]: accepted: a list of {', '.join(OBSERVATIONS)}, no value twice",
        ),
    ],
)  # fmt: skip
def test_invalid_choices_are_refused(overrides, line):
    with pytest.raises(UserError) as error:
        planned_run(["experiment=mnist_bn", *overrides])
    assert str(error.value) == line


def test_the_jacobians_of_convolutions_are_refused():
    with pytest.raises(UserError) as error:
        planned_run([*IMAGES, "observe=[jacobians]"])
    assert str(error.value) == "model=inception: accepted with observe=[jacobians]: mlp"
