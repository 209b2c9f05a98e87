"""Correlations of the normalized inputs equal numpy's."""

import math

import numpy as np
import pytest
import torch

from bn.observe.correlations import Correlations, correlations


def normalized(subject, name="layer1"):
    """Compute xhat of the first layer over all examples by its equation."""
    found = []
    for images, _ in subject.batches:
        u = subject.layers[name].linear(images).detach().double()
        found.append((u - u.mean(0)) / (u.var(0, correction=0) + 1e-5).sqrt())
    return torch.cat(found).numpy()


def pairs(values):
    matrix = np.corrcoef(values.T)
    return matrix[np.triu_indices_from(matrix, k=1)]


def test_the_numbers_equal_numpys_whatever_the_sign_of_gamma(subject_of):
    subject = subject_of()
    tenth = subject.config.length // 10
    observation = Correlations(subject)
    first = observation.observe(tenth)
    then = normalized(subject)
    assert first["observe/correlation_change/layer1"] == 0
    assert first["observe/correlation/layer1"] == pytest.approx(np.abs(pairs(then)).mean(), rel=1e-5)
    sampling = np.sqrt(np.square(pairs(then[:20]) - pairs(then[20:])).mean())
    assert first["observe/correlation_sampling/layer1"] == pytest.approx(sampling, rel=1e-5)

    subject.layers["layer1"].norm.weight.data[::2] *= -2
    subject.layers["layer1"].norm.bias.data += 3
    again = observation.observe(tenth + 1)
    assert again["observe/correlation_change/layer1"] == pytest.approx(0, abs=1e-5)

    subject.layers["layer1"].linear.weight.data[0] += 0.1
    last = observation.observe(tenth + 2)
    change = np.sqrt(np.square(pairs(normalized(subject)[:20]) - pairs(then[:20])).mean())
    assert last["observe/correlation_change/layer1"] == pytest.approx(change, rel=1e-4)


def test_the_change_is_relative_to_a_tenth_of_the_training(subject_of):
    subject = subject_of()
    observation = Correlations(subject)
    assert subject.config.length // 10 in observation.steps()
    assert not any("change" in name for name in observation.observe(0))


def test_a_constant_unit_has_no_correlations():
    values = torch.tensor([[1.0, 1, 2], [1, 2, 4], [1, 3, 6]])
    torch.testing.assert_close(correlations(values), torch.tensor([0.0, 0.0, 1.0]))


def test_the_reference_survives_a_checkpoint(subject_of):
    subject = subject_of()
    one, other = Correlations(subject), Correlations(subject)
    one.observe(subject.config.length // 10)
    other.load_state_dict(one.state_dict())
    subject.layers["layer1"].linear.weight.data[0] += 0.1
    assert one.observe(9_999) == other.observe(9_999)


def test_a_layer_of_one_unit_has_no_pairs(subject_of):
    found = Correlations(subject_of(hidden=(1, 8))).observe(0)
    assert math.isnan(found["observe/correlation/layer1"])  # and is not logged
    assert math.isfinite(found["observe/correlation/layer2"])
