"""A small network to observe."""

from typing import Any

import pytest
import torch

from bn.cli import planned_run
from bn.data.seeds import generator
from bn.models import mlp
from bn.observe.observation import Subject


@pytest.fixture
def subject_of():
    """`subject_of("relu", norm="none")` is an MLP with layers of 9 and 8 units and two mini-batches of 20."""

    def make(nonlinearity="sigmoid", norm="batch", hidden=(9, 8)) -> Any:
        config = planned_run(["experiment=mnist_bn", f"model.nonlinearity={nonlinearity}"]).config
        model = mlp(hidden=hidden, norm=norm, nonlinearity=nonlinearity, generator=generator(2))
        images = torch.randn(40, 784, generator=generator(1))
        labels = torch.arange(40) % 10
        layers = {f"layer{i}": layer for i, layer in enumerate(model.layers, start=1)}
        batches = list(zip(images.split(20), labels.split(20), strict=True))
        return Subject(config, model, model, layers, batches)

    return make
