"""Amplification measures the change of outputs under a change of the weights."""

import pytest
import torch

from bn.models.weights import weights
from bn.observe.amplification import Amplification


def outputs(subject):
    found = []
    for images, _ in subject.batches:
        z = images
        for layer in subject.layers.values():
            z = layer(z)
        found.append(z.detach().double())
    return torch.cat(found)


def test_the_last_output_equals_that_of_a_network_with_noise_of_one_percent(subject_of, monkeypatch):
    """The noisy weights are recorded during the observation and evaluated again afterwards."""
    subject = subject_of()
    old = [weight.detach().clone() for weight in weights(subject.model)]
    noisy = []
    observation = Amplification(subject)
    original = observation.outputs

    def recording():
        noisy[:] = [weight.detach().clone() for weight in weights(subject.model)]
        return original()

    monkeypatch.setattr(observation, "outputs", recording)
    before = outputs(subject)
    found = observation.observe(0)
    for weight, was, moved in zip(weights(subject.model), old, noisy, strict=True):
        assert torch.equal(weight, was)
        assert ((moved - was).norm() / was.norm()).item() == pytest.approx(0.01, rel=1e-4)
        weight.data.copy_(moved)
    expected = ((outputs(subject) - before).norm() / before.norm()).item()
    assert found["observe/amplified/layer2"] == pytest.approx(expected, rel=1e-5)
    assert set(found) == {"observe/amplified/layer1", "observe/amplified/layer2"}


def test_the_noise_is_the_same_at_every_observation(subject_of):
    observation = Amplification(subject_of())
    assert observation.observe(0) == observation.observe(7)
