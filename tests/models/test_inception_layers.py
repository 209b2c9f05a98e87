"""The parts of Inception: pools, LRN, separable convolution, dropout, normalization and names."""

import copy

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from bn.config.choices import NORMALIZATIONS
from bn.data.photometric import normalize
from bn.data.smoke import smoke_images
from bn.errors import UserError
from bn.models import inception
from bn.models.inception import StridedMaxPool, Unit
from bn.models.lrn import LocalResponseNorm
from bn.models.separable import SeparableConv2d
from bn.norm import BatchNorm, population_statistics
from tests.conftest import slowly

SMALL = {"width": 0.125, "size": 28, "stem_stride": 1, "stem_pools": 1, "classes": 10}


def draw(*shape, seed=0, dtype=torch.float64):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def test_strided_max_pool_of_an_even_side_extends_beyond_the_image():
    x = torch.arange(16.0).view(1, 1, 4, 4)
    assert StridedMaxPool()(x).view(2, 2).tolist() == [[10, 11], [14, 15]]
    assert StridedMaxPool()(-x - 1).view(2, 2).tolist() == [[-1, -3], [-9, -11]]  # nothing counts as 0


def test_strided_max_pool_of_an_odd_side_is_padded_at_both_ends():
    x = torch.arange(15.0).view(1, 1, 3, 5)
    assert StridedMaxPool()(x).view(2, 3).tolist() == [[6, 8, 9], [11, 13, 14]]
    assert StridedMaxPool()(-x - 1).view(2, 3).tolist() == [[-1, -2, -4], [-6, -7, -9]]


def test_pools_in_the_modules():
    network = inception(**SMALL)
    pools = {
        name: network.get_submodule(f"inception_{name}.pool") for name in ("3a", "3c", "4d", "4e", "5a", "5b")
    }
    ones = torch.ones(1, 1, 3, 3)
    average = [4 / 9, 6 / 9, 4 / 9, 6 / 9, 1, 6 / 9, 4 / 9, 6 / 9, 4 / 9]  # the zeros around are counted
    for name in ("3a", "4d", "5a"):
        assert_close(pools[name](ones).flatten(), torch.tensor(average))
    x = -torch.arange(9.0).view(1, 1, 3, 3)
    assert pools["5b"](x).flatten().tolist() == [0, 0, -1, 0, 0, -1, -3, -3, -4]
    for name in ("3c", "4e"):
        assert pools[name](x).flatten().tolist() == [0, -1, -3, -4]


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("scale", [1.0, 1000.0])
def test_local_response_normalization_equals_torchs(scale, layout):
    x = (scale * draw(2, 9, 4, 3)).to(memory_format=layout).requires_grad_()
    ours, theirs = LocalResponseNorm()(x), nn.LocalResponseNorm(5)(x)
    assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
    assert ours.is_contiguous(memory_format=layout)
    dy = draw(2, 9, 4, 3, seed=1)
    expected = torch.autograd.grad(theirs, x, dy)
    assert_close(torch.autograd.grad(ours, x, dy), expected, rtol=1e-12, atol=1e-12)
    single = LocalResponseNorm()(x.detach().float())
    assert_close(single, theirs.detach().float(), rtol=1e-5, atol=1e-5)


def test_local_response_normalization_scaled_to_smaller_activations_equals_googlenets():
    pixels = 58 * draw(2, 9, 4, 3)
    ours, googlenets = LocalResponseNorm(scale=58)(pixels / 58), nn.LocalResponseNorm(5)(pixels) / 58
    assert_close(ours, googlenets, rtol=1e-12, atol=1e-12)


def lrn_effects(norm, images):
    """Return the median of |LRN(x) / x - 1| at both places, at initialization, in training mode."""
    g = torch.Generator().manual_seed(0)
    network = inception(
        10, norm=norm, lrn=True, width=0.25, size=56, stem_stride=1, stem_pools=1, generator=g
    )
    found = {}

    def keep(name):
        def hook(_, inputs, output):
            active = inputs[0] > 0  # ReLU sets the others to 0, which LRN keeps
            found[name] = (output / inputs[0] - 1).abs()[active].median().item()

        return hook

    network.lrn1.register_forward_hook(keep("lrn1"))
    network.lrn2.register_forward_hook(keep("lrn2"))
    with torch.no_grad():
        network(images)
    return found


def test_lrn_acts_without_batch_normalization_and_is_the_identity_with_it():
    """Section 4.2.1 removes LRN, "not necessary" with BN: its constants are for pixels of 0..255."""
    images = smoke_images()[0][:16].repeat(2, axis=2).repeat(2, axis=3)[:, :, :56, :56]
    images = normalize(torch.from_numpy(images).float())
    without, with_bn = lrn_effects("none", images), lrn_effects("batch", images)
    assert 0.05 < without["lrn2"] < 0.8, without
    assert 0.05 < without["lrn1"] < 0.8, without
    assert max(with_bn.values()) < 1e-3, with_bn


def test_local_response_normalization_in_float16_squares_large_values():
    x = (1000 * draw(2, 9, 4, 3)).half()
    y = LocalResponseNorm()(x)
    assert y.dtype == torch.float16
    assert_close(y.double(), nn.LocalResponseNorm(5)(x.double()), rtol=2e-3, atol=0)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("side", "stride"), [(9, 1), (9, 2), (12, 2)])
def test_separable_convolution_equals_its_two_steps(side, stride, bias):
    layer = SeparableConv2d(3, 16, 7, stride, 8, bias).double()
    x = draw(2, 3, side, side + 1).requires_grad_()
    ours, steps = layer(x), layer.pointwise(layer.depthwise(x))
    assert_close(ours, steps, rtol=1e-12, atol=1e-12)
    leaves = (x, *layer.parameters())
    dy = draw(*ours.shape, seed=1)
    expected = torch.autograd.grad(steps, leaves, dy)
    assert_close(torch.autograd.grad(ours, leaves, dy), expected, rtol=1e-11, atol=1e-11)
    dense = layer.as_conv2d()
    assert type(dense) is nn.Conv2d
    assert_close(dense(x), ours, rtol=1e-12, atol=1e-12)
    assert not {p.data_ptr() for p in dense.parameters()} & {p.data_ptr() for p in layer.parameters()}


def test_depthwise_filters_of_a_channel_see_that_channel_alone():
    """With multiplier 8: 3 -> 24 channels."""
    layer = SeparableConv2d(3, 64, 7, 2, 8, bias=False)
    assert (layer.depthwise.in_channels, layer.depthwise.out_channels, layer.depthwise.groups) == (3, 24, 3)
    with torch.no_grad():
        layer.pointwise.weight[:, 8:16] = 0
    assert [bool(kernel.any()) for kernel in layer.kernel().unbind(1)] == [True, False, True]


def test_branches_are_concatenated_in_the_papers_order():
    module = inception(**SMALL).get_submodule("inception_3a")
    names = ("conv_1x1", "conv_3x3", "double_3x3_2", "pool_proj")
    found = {}
    for name in names:
        module.get_submodule(name).register_forward_hook(lambda _m, _x, y, name=name: found.update({name: y}))
    y = module(draw(2, 24, 6, 6, dtype=torch.float32))
    assert torch.equal(y, torch.cat([found[name] for name in names], 1))


def test_names():
    units = list(inception(**SMALL).units)
    assert units[:3] == ["conv1", "conv2_reduce", "conv2"]
    layers = ["conv_3x3_reduce", "conv_3x3", "double_3x3_reduce", "double_3x3_1", "double_3x3_2"]
    expected = []
    for name in ("3a", "3b", "3c", "4a", "4b", "4c", "4d", "4e", "5a", "5b"):
        own = layers if name in ("3c", "4e") else ["conv_1x1", *layers, "pool_proj"]
        expected += [f"inception_{name}.{layer}" for layer in own]
    assert units[3:] == expected


@pytest.mark.parametrize("nonlinearity", ["relu", "sigmoid"])
@pytest.mark.parametrize("norm", ["none", "batch"])
def test_nonlinearity_and_biases(norm, nonlinearity):
    """A unit is g(BN(W u)), or g(W u + b) without BN."""
    network = inception(**SMALL, norm=norm, nonlinearity=nonlinearity)
    kind = {"relu": nn.ReLU, "sigmoid": nn.Sigmoid}[nonlinearity]
    for name, unit in network.units.items():
        assert type(unit.nonlinearity) is kind
        assert list(dict(unit.named_children())) == ["conv", "norm", "nonlinearity"]
        biases = [parameter for parameter, _ in unit.conv.named_parameters() if "bias" in parameter]
        own = "pointwise.bias" if name == "conv1" else "bias"
        assert biases == ([own] if norm == "none" else [])
        assert type(unit.norm) is (BatchNorm if norm == "batch" else nn.Identity)
    assert isinstance(network.classifier.bias, nn.Parameter)


def test_dropout_is_only_before_the_classifier():
    network = inception(**SMALL, dropout=0.25)
    x, seen = draw(64, 3, 28, 28, dtype=torch.float32), []
    network.dropout.register_forward_hook(lambda _m, x, y: seen.append((x[0], y)))
    logits = [network(x), network(x)]
    (features, dropped), (again, other) = seen
    assert torch.equal(features, again)
    assert not torch.equal(dropped, other)
    kept = dropped != 0
    assert_close(dropped, torch.where(kept, features / 0.75, 0))
    live = features != 0
    assert abs((kept & live).sum() / live.sum() - 0.75) < 0.03
    assert torch.equal(logits[0], network.classifier(dropped))
    network.eval()
    assert torch.equal(network(x), network.classifier(seen[-1][0]))


def test_batch_normalization_options():
    norms = [unit.norm for unit in inception(**SMALL, bn_eps=1e-3, bn_momentum=0.05).units.values()]
    assert {(norm.eps, norm.momentum, norm.group) for norm in norms} == {(1e-3, 0.05, None)}
    ghost = inception(**SMALL, norm="ghost", norm_group=4, bn_eps=1e-3, bn_momentum=0.05)
    norms = [unit.norm for unit in ghost.units.values()]
    assert {(norm.eps, norm.momentum, norm.group) for norm in norms} == {(1e-3, 0.05, 4)}


def test_ghost_groups_do_not_see_each_other():
    network = inception(**SMALL, norm="ghost", norm_group=4).double()
    alone = copy.deepcopy(network)
    x = draw(8, 3, 28, 28)
    assert torch.equal(network(x)[4:], alone(x[4:]))
    assert not torch.equal(alone(x[4:]), alone(x[2:6])[2:])


@pytest.mark.parametrize("norm", ["batch", *slowly("ghost")])
def test_per_activation_normalization_in_the_modules_named(norm):
    network = inception(**SMALL, norm=norm, norm_group=4, per_activation=("4e", "5b"))
    sizes: dict[str, torch.Size] = {}

    def keep(name):
        return lambda _module, _inputs, y: sizes.update({name: y.shape[1:]})

    for name, unit in network.units.items():
        unit.conv.register_forward_hook(keep(name))
    assert network(torch.zeros(8, 3, 28, 28)).shape == (8, 10)
    for name, unit in network.units.items():
        named = name.startswith(("inception_4e", "inception_5b"))
        assert unit.get_parameter("norm.weight").shape == (sizes[name] if named else sizes[name][:1])
        assert unit.norm.group == (4 if norm == "ghost" else None)
    assert sizes["inception_4e.double_3x3_1"][1:] == (7, 7)  # before the stride
    assert sizes["inception_4e.double_3x3_2"][1:] == (4, 4)
    population_statistics(network, [draw(8, 3, 28, 28, dtype=torch.float32)])
    assert network.eval()(torch.zeros(3, 3, 28, 28)).shape == (3, 10)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"per_activation": ("5b", "5c")}, r"per_activation\[1\]='5c': accepted: 3a, 3b, 3c, 4a, .*, 5b"),
        ({"norm": "sync"}, f"norm='sync': accepted: {', '.join(NORMALIZATIONS)}"),
        ({"nonlinearity": "sine"}, "nonlinearity='sine': accepted: relu, sigmoid, tanh, gelu"),
        ({"stem": "deep"}, "stem='deep': accepted: separable, dense"),
        ({"per_activation": ("5b",), "norm": "none"}, r"per_activation: accepted with norm=none: \(\)"),
        ({"depth": 3}, "depth: unknown key; accepted: name, norm, .*"),
    ],
)
def test_invalid_options_are_refused(options, message):
    with pytest.raises(UserError, match=f"^{message}$"):
        inception(**options)


def test_a_unit_is_one_convolution():
    assert sum(isinstance(m, Unit) for m in inception(**SMALL).modules()) == 3 + 8 * 7 + 2 * 5
