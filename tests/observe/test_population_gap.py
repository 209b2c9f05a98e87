"""The gap between the training and the inference network equals numpy's."""

from typing import Any

import numpy as np
import pytest
import torch

from bn.cli import planned_run
from bn.data.seeds import generator
from bn.errors import Diverged, Interrupted, UserError
from bn.models import mlp
from bn.norm import BatchNorm
from bn.observe.observation import Subject
from bn.observe.population_gap import PopulationGap
from bn.run.directory import read_lines

EPS = 1e-5


def subject_of(batch=20, **changes) -> Any:
    config = planned_run(["experiment=mnist_bn"]).config
    model = mlp(30, (9, 8), init_std=0.5, generator=generator(2), **changes)
    for layer in model.layers:  # as if it had been trained
        assert isinstance(layer.norm, BatchNorm)
        torch.nn.init.normal_(layer.norm.weight, 2.0, 1.0, generator=generator(4))
        torch.nn.init.normal_(layer.norm.bias, generator=generator(5))
    images = torch.randn(40, 30, generator=generator(1))
    layers = {f"layer{i}": layer for i, layer in enumerate(model.layers, start=1)}
    batches = [(part, torch.zeros(batch)) for part in images.split(batch)]
    return Subject(config, model, model, layers, batches)


def by_hand(subject):
    """Compute both numbers in float64, layer by layer, from the formulas of Algorithms 1 and 2."""
    parts = [images.double().numpy() for images, _ in subject.batches]
    training, inference = parts, parts
    for layer in subject.layers.values():
        w, gamma, beta = (
            t.detach().double().numpy() for t in (layer.linear.weight, layer.norm.weight, layer.norm.bias)
        )
        x = [u @ w.T for u in training]
        means, variances = [v.mean(0) for v in x], [v.var(0) for v in x]
        m = len(x[0])
        mean, variance = np.mean(means, 0), m / (m - 1) * np.mean(variances, 0)

        def g(v, mean, variance, gamma=gamma, beta=beta):
            return 1 / (1 + np.exp(-(gamma * (v - mean) / np.sqrt(variance + EPS) + beta)))

        training = [g(v, *own) for v, *own in zip(x, means, variances, strict=True)]
        inference = [g(u @ w.T, mean, variance) for u in inference]
    classifier = subject.model.classifier
    w, b = (t.detach().double().numpy() for t in (classifier.weight, classifier.bias))
    p, q = (np.exp(np.concatenate(z) @ w.T + b) for z in (training, inference))
    p, q = p / p.sum(1, keepdims=True), q / q.sum(1, keepdims=True)
    return np.abs(p - q).sum(1).mean() / 2, (p.argmax(1) != q.argmax(1)).mean()


@pytest.mark.parametrize("batch", [2, 20])
def test_it_equals_the_formulas(batch):
    subject = subject_of(batch)
    found = PopulationGap(subject).observe(0)
    distance, others = by_hand(subject)
    assert distance > 0.01
    assert found == {
        "observe/population_gap/probabilities": pytest.approx(distance, rel=1e-4),
        "observe/population_gap/classes": pytest.approx(others),
    }


def test_with_one_mini_batch_only_the_correction_of_the_variance_remains():
    assert PopulationGap(subject_of(40)).observe(0)["observe/population_gap/probabilities"] < 0.01


def test_observing_changes_nothing():
    subject = subject_of()
    subject.model.eval()
    before = {name: tensor.clone() for name, tensor in subject.model.state_dict().items()}
    PopulationGap(subject).observe(0)
    assert not subject.model.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in subject.model.state_dict().items())


def test_statistics_that_are_not_finite_are_a_divergence():
    subject = subject_of()
    subject.model.layers[0].linear.weight.data[0] = torch.inf
    with pytest.raises(Diverged, match="not finite"):
        PopulationGap(subject).observe(0)


def test_it_is_recorded_resumes_and_does_not_affect_training(trained, stop_after, undisturbed, bits):
    overrides = ("experiment=mnist_bn", "observe=[percentiles,population_gap]")
    with pytest.raises(Interrupted):
        trained(*overrides, stop_signal=stop_after(65))
    run = trained(*overrides)
    assert bits(run) == bits(undisturbed(*overrides))
    plain = bits(undisturbed("experiment=mnist_bn"))
    assert bits(run)["checkpoint"]["model"] == plain["checkpoint"]["model"]
    key = "observe/population_gap/classes"
    lines = [line for line in read_lines(run.path / "metrics.jsonl") if key in line]
    assert [line["step"] for line in lines] == [0, 30, 60, 120]
    assert all(0 <= line[key] <= 1 for line in lines)


def test_it_needs_batch_normalization():
    with pytest.raises(UserError) as error:
        planned_run(["experiment=mnist_baseline", "observe=[population_gap]"])
    assert str(error.value) == "model.norm=none: accepted with observe=[population_gap]: batch, ghost"
