"""Inception in channels_last, compiled and folded gives the same numbers."""

import os
import shutil

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from bn.models import inception
from bn.models.inception import StridedMaxPool, Unit
from bn.models.lrn import LocalResponseNorm
from bn.models.separable import SeparableConv2d
from bn.norm import BatchNorm, fold, population_statistics
from tests.conftest import slowly

SMALL = {"width": 0.125, "size": 28, "stem_stride": 1, "stem_pools": 1, "classes": 10}


def draw(*shape, seed=0, dtype=torch.float64):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def built(**options):
    return inception(**{**SMALL, **options}, generator=torch.Generator().manual_seed(0)).double()


def outcome(network, forward, x):
    """Return logits, gradients and statistics of one step in training mode."""
    network.zero_grad()
    logits = forward(x)
    nn.functional.cross_entropy(logits, torch.arange(len(x)) % 10).backward()
    return logits.detach(), [p.grad for p in network.parameters()], list(network.buffers())


@pytest.mark.parametrize(
    "options",
    [
        {"norm": "none", "lrn": True, "nonlinearity": "sigmoid"},
        {"lrn": True, "stem": "dense"},
        *slowly({"norm": "ghost", "norm_group": 4, "per_activation": ("5b",)}),
    ],
)
def test_channels_last_gives_the_same_numbers(options):
    plain, last = built(**options), built(**options).to(memory_format=torch.channels_last)
    x, layouts = draw(8, 3, 28, 28), []
    for unit in last.units.values():
        unit.register_forward_hook(
            lambda _m, _x, y: layouts.append(y.is_contiguous(memory_format=torch.channels_last))
        )
    ours = outcome(last, last, x.to(memory_format=torch.channels_last))
    assert all(layouts)
    assert_close(ours, outcome(plain, plain, x), rtol=1e-9, atol=1e-11)


@pytest.mark.slow
def test_compiles_without_graph_breaks_to_the_same_numbers():
    """The graph is captured, functionalized and differentiated, as for any backend."""
    plain, ours = built(lrn=True), built(lrn=True)
    torch.compiler.reset()
    compiled = torch.compile(ours, backend="aot_eager", fullgraph=True)
    x = draw(8, 3, 28, 28)
    assert_close(outcome(ours, compiled, x), outcome(plain, plain, x), rtol=1e-9, atol=1e-11)


@pytest.mark.slow
@pytest.mark.skipif(
    shutil.which(os.environ.get("CXX", "g++")) is None, reason="torch.compile needs a C++ compiler"
)
def test_stem_compiled_to_machine_code_gives_the_same_numbers():
    """Covers all kinds of layers but the concatenation: compiling the whole network takes minutes."""

    def stem():
        torch.manual_seed(0)
        first = Unit(SeparableConv2d(3, 8, 7, 2, 8, bias=False), BatchNorm(8, group=2), nn.ReLU(), 0)
        return nn.Sequential(first, StridedMaxPool(), LocalResponseNorm())

    plain, ours = stem(), stem()
    torch.compiler.reset()
    compiled = torch.compile(ours, fullgraph=True)
    x = draw(4, 3, 20, 20, dtype=torch.float32)
    expected, y = plain(x), compiled(x)
    assert_close(y, expected)
    upstream = draw(*y.shape, seed=1, dtype=torch.float32)
    y.backward(upstream)
    expected.backward(upstream)
    for p, q in zip(ours.parameters(), plain.parameters(), strict=True):
        assert_close(p.grad, q.grad, rtol=1e-4, atol=1e-4)
    assert_close(list(ours.buffers()), list(plain.buffers()))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"norm": "ghost", "norm_group": 4, "dropout": 0.1},
        *slowly(
            {"lrn": True, "dropout": 0.5, "stem": "dense", "nonlinearity": "sigmoid"}, {"pool_proj": 128}
        ),
    ],
)
def test_folded_network_has_no_normalization_and_gives_the_same_numbers(options):
    network = built(**options)
    for unit in network.units.values():
        for i, p in enumerate(unit.norm.parameters()):
            p.data += 0.3 * draw(*p.shape, seed=i)
    population_statistics(network, [draw(8, 3, 28, 28, seed=seed) for seed in range(2)])
    x = draw(3, 3, 28, 28, seed=5)
    folded = fold(network)
    assert_close(folded(x), network.eval()(x), rtol=1e-9, atol=1e-11)
    assert torch.equal(folded(x), folded(x))  # dropout is off
    kinds = {type(module) for module in folded.modules()}
    assert not kinds & {BatchNorm, SeparableConv2d}
    assert {f"{name}.conv.bias" for name in network.units} < folded.state_dict().keys()


def test_fold_keeps_per_activation_normalization():
    network = built(per_activation=("5b",))
    population_statistics(network, [draw(8, 3, 28, 28)])
    folded, x = fold(network), draw(3, 3, 28, 28, seed=5)
    left = [name for name, module in folded.named_modules() if isinstance(module, BatchNorm)]
    assert left == [f"{name}.norm" for name in network.units if "5b" in name]
    assert_close(folded(x), network.eval()(x), rtol=1e-9, atol=1e-11)
