"""Internal covariate shift, in both definitions, equals scipy's distance and a gradient written out."""

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.stats import wasserstein_distance

from bn.observe.shift import GradientShift, InputShift, relative_shift


def take_step(subject):
    """Change all parameters, as a training step would."""
    with torch.no_grad():
        for i, parameter in enumerate(subject.model.parameters()):
            parameter += 0.01 * (i + 1) * torch.cos(torch.arange(parameter.numel())).view_as(parameter)


def inputs_of(subject):
    """Return the nonlinearity's inputs in each layer, normalized by mini-batch, over all mini-batches."""
    found = [[] for _ in subject.layers]
    for images, _ in subject.batches:
        z = images
        for layer, each in zip(subject.layers.values(), found, strict=True):
            each.append(layer.norm(layer.linear(z)).detach())
            z = torch.sigmoid(each[-1])
    return [torch.cat(each).double().numpy() for each in found]


@pytest.mark.parametrize("norm", ["batch", "none"])
def test_the_shift_is_the_wasserstein_distance_over_the_spread(subject_of, norm):
    subject = subject_of(norm=norm)
    observation = InputShift(subject)
    before = inputs_of(subject)
    assert observation.observe(0) == {}
    take_step(subject)
    found = observation.observe(1)
    for i, (old, new) in enumerate(zip(before, inputs_of(subject), strict=True), start=1):
        distances = [wasserstein_distance(a, b) for a, b in zip(old.T, new.T, strict=True)]
        expected = np.mean(distances) / old.std(0).mean()
        assert found[f"observe/shift/layer{i}"] == pytest.approx(expected, rel=1e-5)
    assert observation.state_dict() == {}  # no snapshot remains


def test_a_shift_by_half_the_spread():
    before = torch.arange(100.0).sort().values.expand(3, -1)
    spread = before[0].double().std(correction=0)
    assert relative_shift(before, before + spread / 2) == pytest.approx(0.5)


@pytest.mark.parametrize("norm", ["batch", "none"])
def test_the_gradient_shift_is_due_to_the_layers_before(subject_of, norm):
    subject = subject_of(norm=norm, hidden=(9, 8, 7))
    observation = GradientShift(subject)
    old = copy.deepcopy(subject.model)
    observation.observe(0)
    take_step(subject)
    found = observation.observe(1)
    assert set(found) == {f"observe/gradient_{kind}/layer{i}" for kind in ("shift", "cosine") for i in (2, 3)}
    images, labels = subject.batches[0]
    for i in (1, 2):
        mixed = copy.deepcopy(old)
        for k in range(i):
            mixed.layers[k].load_state_dict(subject.model.layers[k].state_dict())
        gradients = []
        for model in (old, mixed):
            weight = model.layers[i].linear.weight
            loss = F.cross_entropy(model(images), labels)
            gradients.append(torch.autograd.grad(loss, weight)[0].double().flatten())
        g, changed = gradients
        name = f"layer{i + 1}"
        expected = ((changed - g).norm() / g.norm()).item()
        assert found[f"observe/gradient_shift/{name}"] == pytest.approx(expected, rel=1e-4)
        cosine = (changed @ g / changed.norm() / g.norm()).item()
        assert found[f"observe/gradient_cosine/{name}"] == pytest.approx(cosine, rel=1e-6)


@pytest.mark.parametrize("kind", [InputShift, GradientShift])
def test_both_observe_before_and_after_a_step(subject_of, kind):
    subject = subject_of()
    steps = kind(subject).steps()
    probed = subject.config.probe.at.steps(subject.config.length)
    assert steps == {step for n in probed - {subject.config.length} for step in (n, n + 1)}


@pytest.mark.parametrize("kind", [InputShift, GradientShift])
def test_a_run_resumed_between_the_two_snapshots_finds_the_same(subject_of, kind):
    subject = subject_of()
    one, other = kind(subject), kind(subject)
    one.observe(0)
    other.load_state_dict(one.state_dict())
    take_step(subject)
    assert one.observe(1) == other.observe(1) != {}
