"""The normalizations that `model.norm` can name, in both networks."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from bn.config.choices import NORMALIZATIONS
from bn.models import inception, mlp
from bn.models.mlp import PAPER
from bn.norm import BatchNorm
from bn.norm.build import normalization


@pytest.mark.parametrize("norm", NORMALIZATIONS)
@pytest.mark.parametrize("shape", [(20, 40), (20, 40, 3, 2)])
def test_each_keeps_the_shape_and_has_gamma_and_beta(norm, shape):
    network = mlp(norm=norm, hidden=(40,)).layers[0].norm
    assert network(torch.randn(20, 40)).shape == (20, 40)
    layer = type(network) if norm == "none" else network
    assert norm == "none" or network.weight.shape == network.bias.shape == (40,)
    assert layer is not None
    y = normalization(40, PAPER.__class__(**{**vars(PAPER), "norm": norm}))(torch.randn(shape))
    assert y.shape == shape


def test_layer_normalization_equals_torchs():
    x, pictures = torch.randn(7, 40), torch.randn(7, 16, 3, 2)
    layer = mlp(norm="layer", hidden=(40,)).layers[0].norm
    torch.testing.assert_close(layer(x), F.layer_norm(x, (40,)))
    unit = inception(10, norm="layer", width=0.01, size=28).get_submodule("inception_3a.conv_3x3.norm")
    pictures = torch.randn(7, 8, 3, 2)
    torch.testing.assert_close(unit(pictures), F.layer_norm(pictures, (8, 3, 2)))


def test_group_normalization_has_its_groups():
    layer = mlp(norm="group", hidden=(40,), norm_groups=5).layers[0].norm
    x = torch.randn(7, 40)
    torch.testing.assert_close(layer(x), F.group_norm(x, 5))
    norms = [unit.norm for unit in inception(10, norm="group", width=0.25, norm_groups=4).units.values()]
    assert {type(norm) for norm in norms} == {nn.GroupNorm}
    assert {norm.num_groups for norm in norms} == {4}


def test_ghost_groups_of_the_mlp():
    norm = mlp(norm="ghost", norm_group=6).layers[0].norm
    assert isinstance(norm, BatchNorm)
    assert norm.group == 6


@pytest.mark.parametrize("norm", ["layer", "group"])
def test_both_networks_train_and_evaluate(trained, norm):
    mlp_run = trained("experiment=mnist_bn", f"model.norm={norm}", "steps=20", "optim.lr=0.5")
    images = trained(
        "experiment=bn_x5", "scale=smoke", f"model.norm={norm}", "model.width=0.01", "steps=4",
        "optim.batch=8", "probe.examples=8",
    )  # fmt: skip
    assert mlp_run.status["state"] == images.status["state"] == "done"
