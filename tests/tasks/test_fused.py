"""The fused step trains exactly the networks that it declares to support."""

import itertools

import pytest
import torch

from bn.config.choices import NONLINEARITIES, NORMALIZATIONS
from bn.errors import UserError
from bn.fused_mlp import FusedStep, unsupported
from bn.models import mlp
from bn.run.directory import read_lines
from bn.tasks import build_task
from bn.tasks.steps import AutogradStep

MLP = ("experiment=mnist_bn", "model.hidden=[20,20]")
CHOICES = list(itertools.product(NORMALIZATIONS, NONLINEARITIES))


@pytest.mark.parametrize(("norm", "nonlinearity"), CHOICES)
def test_the_step_trains_what_it_declares(planned, norm, nonlinearity):
    """For every combination it trains a supported network and refuses any other."""
    config = planned(*MLP, f"model.norm={norm}", f"model.nonlinearity={nonlinearity}").config
    network = mlp(network=config.model)
    if unsupported(config) is None:
        FusedStep(network, batch=60, lr=0.1)
    else:
        with pytest.raises(ValueError, match="cannot compute"):
            FusedStep(network, batch=60, lr=0.1)


@pytest.mark.parametrize(
    "override",
    [
        "model.norm=layer", "model.norm=group", "model.norm=ghost", "model.nonlinearity=gelu",
        "model.norm=population", "model.norm_place=after", "model.norm_place=input", "model.dropout=0.2",
        "optim.momentum=0.9", "optim.decay.factor=0.5",
    ],
)  # fmt: skip
def test_unsupported_settings_use_the_readable_step_or_are_refused(planned, override):
    task = build_task(planned(*MLP, override).config, torch.device("cpu"), 0)
    assert type(task.step) is AutogradStep
    assert task.describe() == f"readable step, the fused step does not support {override}"
    with pytest.raises(UserError, match=f"^step_path=fused: {override} needs step_path=autograd or auto$"):
        planned(*MLP, override, "step_path=fused")


def test_the_chosen_step_is_reported(planned):
    assert build_task(planned(*MLP).config, torch.device("cpu"), 0).describe() == "fused step"
    readable = build_task(planned(*MLP, "step_path=autograd").config, torch.device("cpu"), 0)
    assert readable.describe() == "readable step"


def test_layer_normalization_is_trained(trained):
    """Its losses differ from those of a network without normalization."""
    losses = [
        read_lines(trained(*MLP, f"model.norm={norm}").path / "metrics.jsonl")[-1]["train/loss"]
        for norm in ("layer", "none")
    ]
    assert abs(losses[0] - losses[1]) > 0.01
