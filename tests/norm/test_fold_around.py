"""Layers with hooks, parametrizations or changed forwards: fold gives the same outputs or raises."""

import copy
import itertools
import types
import warnings

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, prune, spectral_norm, weight_norm
from torch.testing import assert_close

from bn.models.separable import SeparableConv2d
from bn.norm import BatchNorm, fold, population_statistics


def forward_hook(module):
    module.register_forward_hook(lambda _module, _inputs, output: 2 * output + 1)


def forward_hook_with_kwargs(module):
    module.register_forward_hook(lambda _module, _args, _named, output: output - 3, with_kwargs=True)


def forward_pre_hook(module):
    module.register_forward_pre_hook(lambda _module, inputs: (3 * inputs[0] - 1,))


def forward_pre_hook_with_kwargs(module):
    module.register_forward_pre_hook(lambda _module, args, named: ((args[0] / 2,), named), with_kwargs=True)


def forward_of_the_instance(module):
    module.forward = types.MethodType(lambda self, x: 1 - type(self).forward(self, x), module)


def subclass(module):
    class Doubling(type(module)):
        def forward(self, x):
            return 2 * super().forward(x)

    module.__class__ = Doubling


def older_weight_norm(module):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the deprecation
        weight_norm(module)
    module.weight_g.data *= 2


def older_spectral_norm(module):
    spectral_norm(module)


def pruning(module):
    prune.random_unstructured(module, "weight", amount=0.5)


def new_weight_norm(module):
    parametrizations.weight_norm(module)
    dict(module.named_parameters())["parametrizations.weight.original0"].data *= 2


def new_spectral_norm(module):
    parametrizations.spectral_norm(module)


ANYWHERE = (
    forward_hook,
    forward_hook_with_kwargs,
    forward_pre_hook,
    forward_pre_hook_with_kwargs,
    forward_of_the_instance,
    subclass,
)
ON_WEIGHTS = (older_weight_norm, older_spectral_norm, pruning, new_weight_norm, new_spectral_norm)


class Network(nn.Module):
    """A layer and its BN in a container, followed by a nonlinearity."""

    def __init__(self, layer, norm):
        super().__init__()
        self.pair = nn.Sequential(layer, norm)
        self.g = nn.Tanh()

    def forward(self, x):
        return self.g(self.pair(x))


def networks():
    generator = torch.Generator().manual_seed(0)

    def linear():
        return nn.Linear(4, 5), (8, 4)

    def convolution():
        return nn.Conv2d(4, 6, 3, groups=2), (8, 4, 6, 5)

    def separable():
        return SeparableConv2d(3, 4, 3, 1, 2, bias=True), (8, 3, 6, 5)

    makers = {
        linear: (BatchNorm, nn.BatchNorm1d),
        convolution: (BatchNorm, nn.BatchNorm2d),
        separable: (BatchNorm,),
    }
    for maker, norms in makers.items():
        for norm in norms:
            layer, shape = maker()
            channels = getattr(layer, "out_features", None) or layer.out_channels
            x = torch.randn(shape, generator=generator, dtype=torch.float64)
            yield f"{maker.__name__}-{norm.__module__}", Network(layer, norm(channels)).double(), x


NETWORKS = {name: (network, x) for name, network, x in networks()}
PLACES = ("pair.0", "pair.1", "pair", "g", "")
CASES = [
    *itertools.product(NETWORKS, ANYWHERE, PLACES),
    *itertools.product((name for name in NETWORKS if "separable" not in name), ON_WEIGHTS, ("pair.0",)),
    *itertools.product(
        ("separable-bn.norm.module",), (*ANYWHERE, new_weight_norm, new_spectral_norm), ("pair.0.depthwise",)
    ),
]


@pytest.mark.parametrize(
    ("name", "change", "place"),
    CASES,
    ids=[f"{name}-{change.__name__}-{place}" for name, change, place in CASES],
)
def test_fold_gives_the_same_outputs_or_raises(name, change, place):
    network, x = copy.deepcopy(NETWORKS[name])
    change(network.get_submodule(place))
    population_statistics(network, [x, x + 1])
    expected = copy.deepcopy(network).eval()(x)
    if place == "" and change is not subclass:
        with pytest.raises(ValueError, match=r"^Network itself has hooks, which a fold would lose"):
            fold(network)
    else:
        assert_close(fold(network)(x), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", NETWORKS)
def test_an_unchanged_pair_is_folded(name):
    network, x = copy.deepcopy(NETWORKS[name])
    population_statistics(network, [x])
    assert "pair.1" not in dict(fold(network).named_modules())
