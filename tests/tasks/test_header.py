"""The header of a run: its numbers are those of the network and the data."""

import pytest
import torch

from bn.models.counts import counts, multiply_adds
from bn.models.inception import Inception
from bn.tasks import build_task
from bn.tasks.header import learning_rate, network, run_header

CPU = torch.device("cpu")


def lines(run, first=0):
    task = build_task(run.config, CPU, first)
    try:
        return run_header(run.config, run, "a processor", task, first).splitlines()
    finally:
        task.close()


def test_the_mlp(planned):
    run = planned("experiment=mnist_baseline", "model.hidden=[30]", "data.validation=1000", "threads=2")
    weights = 784 * 30 + 30 * 10
    assert lines(run, first=60) == [
        f"mnist_baseline: seed 0, from step 60 of 120 steps -> {run.name}",
        "  network  MLP 784-30-10, sigmoid, no normalization",
        f"  size     {weights + 40:,} parameters, {weights:,} multiply-adds per image",
        "  data     mnist: 59,000 training, 1,000 held-out and 10,000 test images; mini-batches of 60",
        "  step     sgd, learning rate 0.1; fused step",
        "  device   a processor (2 threads)",
    ]


def test_a_steps_factor_is_shown(planned):
    run = planned("experiment=mnist_bn", "steps=20", "steps_factor=0.5")
    assert lines(run)[0] == f"mnist_bn: seed 0, for 10 steps (steps=20 x 0.5) -> {run.name}"


def test_inception(planned):
    run = planned("experiment=bn_x5", "scale=smoke", "data.workers=0")
    _, net, size, data, step, _ = lines(run)
    assert net == "  network  Inception of width 0.25, relu, batch normalization in groups of 32"
    task = build_task(run.config, CPU, 0)
    assert isinstance(task.model, Inception)
    parts = counts(task.model)
    task.close()
    parameters = sum(part.parameters for part in parts)
    assert size.startswith(f"  size     {parameters:,} parameters, ")
    millions = sum(part.multiply_adds for part in parts) / 1e6
    assert size.endswith(f"{millions:.3g} million multiply-adds per image")
    assert multiply_adds(task.model) == 1e6 * millions
    images = "2,000 training and 500 validation images, 10 classes, crops of 28"
    assert data == f"  data     smoke: {images}; mini-batches of 32"
    assert step == "  step     sgd, learning rate 0.0075; float32, channels last"


@pytest.mark.parametrize(
    ("norm", "words"),
    [("none", "no normalization"), ("batch", "batch normalization"), ("layer", "layer normalization"),
     ("ghost", "batch normalization in groups of 20"), ("group", "group normalization")],
)  # fmt: skip
def test_normalizations_are_named(norm, words, planned):
    config = planned("experiment=mnist_bn", f"model.norm={norm}").config
    assert network(config) == f"MLP 784-100-100-100-10, sigmoid, {words}"


def test_a_scaled_learning_rate_is_explained(planned):
    config = planned("experiment=bn_x5", "scale=smoke", "optim.batch=64").config
    assert learning_rate(config.optim) == "learning rate 0.015 = 0.0075 x 64/32, scaled with the mini-batch"
