"""How far outputs move when the weights do."""

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


def test_the_last_output_moves_as_that_of_a_network_with_noise_of_a_hundredth(subject_of, monkeypatch):
    """The weights that it looked with are kept, and looked at again."""
    subject = subject_of()
    old = [weight.detach().clone() for weight in weights(subject.model)]
    noisy = []
    observation = Amplification(subject)
    looked = observation.outputs

    def look():
        noisy[:] = [weight.detach().clone() for weight in weights(subject.model)]
        return looked()

    monkeypatch.setattr(observation, "outputs", look)
    before = outputs(subject)
    found = observation.observe(0)
    for weight, was, moved in zip(weights(subject.model), old, noisy, strict=True):
        assert torch.equal(weight, was)
        assert ((moved - was).norm() / was.norm()).item() == pytest.approx(0.01, rel=1e-4)
        weight.data.copy_(moved)
    expected = ((outputs(subject) - before).norm() / before.norm()).item()
    assert found["observe/amplified/layer2"] == pytest.approx(expected, rel=1e-5)
    assert set(found) == {"observe/amplified/layer1", "observe/amplified/layer2"}


def test_the_noise_is_the_same_at_every_look(subject_of):
    observation = Amplification(subject_of())
    assert observation.observe(0) == observation.observe(7)
