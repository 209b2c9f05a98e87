"""Measures of the distributions at the three places of a layer equal scipy's."""

from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

from bn.cli import planned_run
from bn.data.seeds import generator
from bn.models import mlp
from bn.norm import BatchNorm
from bn.observe.observation import Subject
from bn.observe.shapes import Shapes, shapes


def test_the_measures_equal_scipys():
    values = torch.cat([torch.randn(500, 3, generator=generator(1)), torch.rand(500, 2) ** 3], 1)
    found = shapes(values)
    columns = values.double().numpy()
    assert found["skewness"] == pytest.approx(np.abs(stats.skew(columns)).mean())
    assert found["kurtosis"] == pytest.approx(np.abs(stats.kurtosis(columns)).mean())
    small = np.abs(columns) < 0.01 * np.abs(columns).max(0)
    assert 0 < small.mean() < 0.5
    assert found["sparsity"] == pytest.approx(small.mean())


def test_a_unit_that_is_always_zero_is_sparse_and_has_no_shape():
    values = torch.randn(200, 3, generator=generator(2))
    alive = shapes(values[:, :2])
    values[:, 2] = 0
    found = shapes(values)
    assert found["skewness"] == pytest.approx(alive["skewness"])
    assert found["kurtosis"] == pytest.approx(alive["kurtosis"])
    assert found["sparsity"] == pytest.approx((2 * alive["sparsity"] + 1) / 3)


def test_a_constant_unit_is_not_sparse():
    assert shapes(torch.ones(10, 1))["sparsity"] == 0
    assert np.isnan(shapes(torch.ones(10, 1))["skewness"])


@pytest.mark.parametrize("place", ["before", "after", "input"])
def test_places(place):
    config = planned_run(["experiment=mnist_bn"]).config
    model = mlp(hidden=(9, 8), nonlinearity="relu", norm_place=place, dropout=0.3, generator=generator(2))
    for layer in model.layers:
        assert isinstance(layer.norm, BatchNorm)
        layer.norm.bias.data += 0.5
    images = torch.randn(40, 784, generator=generator(1))
    layers = {f"layer{i}": layer for i, layer in enumerate(model.layers, start=1)}
    subject: Any = Subject(config, model, model, layers, [(images, torch.zeros(40, dtype=torch.int64))])
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    found = Shapes(subject).observe(0)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert len(found) == 3 * 2 * 3

    layer = model.layers[0]
    with torch.no_grad():
        normalized = layer.norm(images) if place == "input" else images
        affine = layer.linear(normalized)
        inputs = layer.norm(affine) if place == "before" else affine
        output = layer.norm(inputs.relu()) if place == "after" else inputs.relu()
    for name, values in (("affine", affine), ("input", inputs), ("output", output)):
        for measure, value in shapes(values).items():
            assert found[f"observe/{measure}/layer1/{name}"] == pytest.approx(value, rel=1e-4), (
                name,
                measure,
            )
    assert not layer.nonlinearity._forward_hooks
