"""Percentiles of the inputs to the nonlinearities, and accuracy."""

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from bn.cli import planned_run
from bn.data.mnist import Examples
from bn.data.seeds import generator
from bn.evaluate.accuracy import accuracy
from bn.models import mlp
from bn.models.inception import Unit
from bn.models.mlp import MLP
from bn.norm import BatchNorm
from bn.observe.observation import Subject
from bn.observe.percentiles import (
    Percentiles,
    order_statistics,
    order_statistics_on_device,
    percentiles_of_columns,
    typical_unit,
)

PERCENTILES = (15, 50, 85)  # the default


@pytest.fixture
def images() -> torch.Tensor:
    return (torch.rand(180, 784, generator=generator(0, "images")) > 0.5).float()


def percentiles_of(model: nn.Module, layers: dict[str, Any], batches: Sequence[torch.Tensor]) -> Percentiles:
    labels = torch.zeros(0)  # unused
    config = planned_run(["experiment=mnist_bn"]).config
    return Percentiles(Subject(config, model, model, layers, [(images, labels) for images in batches]))


def percentiles_of_mlp(model: MLP, images: torch.Tensor) -> Percentiles:
    layers = {f"layer{i}": layer for i, layer in enumerate(model.layers, start=1)}
    return percentiles_of(model, layers, images.split(60))


def test_percentiles_equal_numpys() -> None:
    values = torch.randn(997, 13, generator=generator(1))
    found = percentiles_of_columns(values, (0, 15, 50, 85, 100))
    np.testing.assert_allclose(
        found, np.percentile(values.numpy(), (0, 15, 50, 85, 100), axis=0), rtol=1e-5, atol=1e-7
    )


def test_the_sort_for_gpus_finds_the_same_bits() -> None:
    """It runs here on the CPU, on values with infinities and NaN."""
    rows = torch.randn(13, 997, generator=generator(1))
    rows[3, 5], rows[4, 6], rows[5, 7] = torch.inf, -torch.inf, torch.nan
    places = np.array([[0, 149, 498, 995], [1, 150, 498, 996]])
    expected = order_statistics(rows.clone(), places)
    for at_once in (1, 2 * 997, 1 << 25):
        found = order_statistics_on_device(rows, places, at_once)
        np.testing.assert_array_equal(found.numpy(), expected)


def test_the_inputs_are_bns_output_in_training_mode(images: torch.Tensor) -> None:
    """gamma * xhat + beta, normalized over each mini-batch of 60; percentiles over all 180 examples."""
    model = mlp(hidden=(9, 8), norm="batch", generator=generator(2))
    norms = [module for module in model.modules() if isinstance(module, BatchNorm)]
    with torch.no_grad():
        for norm in norms:
            norm.weight.uniform_(0.5, 2, generator=generator(3))
            norm.bias.uniform_(-1, 1, generator=generator(4))
    probe = percentiles_of_mlp(model, images)
    probe.observe(0)

    inputs: list[list[torch.Tensor]] = [[], []]
    for batch in images.double().split(60):
        z = batch
        for i, layer in enumerate(model.layers):
            u = z @ layer.linear.weight.double().T
            xhat = (u - u.mean(0)) / (u.var(0, unbiased=False) + 1e-5).sqrt()
            y = norms[i].weight * xhat + norms[i].bias
            inputs[i].append(y)
            z = torch.sigmoid(y)
    for i in range(2):
        expected = np.percentile(torch.cat(inputs[i]).detach().numpy(), PERCENTILES, axis=0)
        np.testing.assert_allclose(probe.paths[f"layer{i + 1}"][0], expected, rtol=1e-4, atol=1e-4)


def test_without_bn_the_inputs_are_the_affine_output(images: torch.Tensor) -> None:
    model = mlp(hidden=(9,), norm="none", generator=generator(2))
    probe = percentiles_of_mlp(model, images)
    probe.observe(0)
    u = model.layers[0].linear(images).detach().numpy()
    np.testing.assert_allclose(
        probe.paths["layer1"][0], np.percentile(u, PERCENTILES, axis=0), rtol=1e-4, atol=1e-5
    )


def test_observing_changes_nothing(images: torch.Tensor) -> None:
    model = mlp(hidden=(9, 8), norm="batch")
    model(images)
    model.eval()
    before = copy.deepcopy(model.state_dict())
    random = torch.get_rng_state()
    percentiles_of_mlp(model, images).observe(7)
    assert not any(module.training for module in model.modules())
    assert torch.equal(torch.get_rng_state(), random)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name]), name
    assert not any(layer.nonlinearity._forward_pre_hooks for layer in model.layers)


def test_a_feature_map_counts_at_all_locations_and_the_random_state_is_restored() -> None:
    """The inputs are recorded correctly even if the nonlinearity works in place."""
    conv = nn.Conv2d(3, 4, 3)
    layer = Unit(conv, nn.Identity(), nn.ReLU(inplace=True), side=4)
    model = nn.Sequential(layer, nn.Dropout(0.5))
    images = torch.randn(10, 3, 6, 6, generator=generator(7))
    random = torch.get_rng_state()
    probe = percentiles_of(model, {"conv": layer}, images.split(5))
    probe.observe(0)
    assert torch.equal(torch.get_rng_state(), random)
    inputs = conv(images).detach().numpy()
    expected = np.percentile(inputs, PERCENTILES, axis=(0, 2, 3))
    np.testing.assert_allclose(probe.paths["conv"][0], expected, rtol=1e-4, atol=1e-5)


def test_paths_survive_a_checkpoint_and_are_saved(images: torch.Tensor, tmp_path: Path) -> None:
    model = mlp(hidden=(9, 8), norm="batch")
    probe = percentiles_of_mlp(model, images)
    for step in (0, 10):
        probe.observe(step)
    other = percentiles_of_mlp(model, images)
    other.load_state_dict(probe.state_dict())
    other.save(tmp_path)
    with np.load(tmp_path / "activations.npz") as record:
        assert record["steps"].tolist() == [0, 10]
        assert record["percentiles"].tolist() == [15, 50, 85]
        assert record["layer1"].shape == (2, 3, 9)
        np.testing.assert_array_equal(record["layer2"], np.stack(probe.paths["layer2"]))
    assert [path.name for path in tmp_path.iterdir()] == ["activations.npz"]


def test_the_typical_unit_is_nearest_to_the_median_paths() -> None:
    path = np.zeros((4, 3, 5))
    path[:] = np.array([3.0, -2.0, 0.1, 1.0, -5.0])  # the median unit is 2
    path[1, 1, 2] = 9.0  # with this spike the unit with the next nearest path is typical
    assert typical_unit(path) == 3
    path[1, 1, 2] = 0.1
    assert typical_unit(path) == 2


def test_accuracy_is_exact_and_uses_the_moving_averages() -> None:
    model = mlp(hidden=(9,), norm="batch", generator=generator(2))
    images = (torch.rand(1234, 784, generator=generator(5)) > 0.5).to(torch.uint8)
    model(images[:600].float())
    model.eval()
    with torch.no_grad():
        labels = torch.cat([model(image[None].float()).argmax(1) for image in images])
    wrong = torch.arange(0, 1234, 7)
    labels[wrong] = (labels[wrong] + 1) % 10
    model.train()
    before = copy.deepcopy(model.state_dict())
    assert accuracy(model, Examples(images, labels)) == 1 - len(wrong) / 1234
    assert model.training
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name]), name
