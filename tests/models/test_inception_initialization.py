"""Initial weights: He's rule for the convolutions; a seed gives the same weights with and without BN."""

import pytest
import torch
from torch.testing import assert_close

from bn.models import inception
from tests.conftest import slowly


def built(seed=0, **options):
    return inception(**{"width": 0.25, **options}, generator=torch.Generator().manual_seed(seed))


def weights(network):
    """Return W of every layer, which the network has with and without BN."""
    names = [f"{name}.conv" for name in network.units if name != "conv1"]
    stem = ("conv1.conv", "conv1.conv.depthwise", "conv1.conv.pointwise")
    modules = dict(network.named_modules())
    found = {name: modules[name] for name in (*stem, *names, "classifier") if name in modules}
    return {name: module.weight.detach() for name, module in found.items() if hasattr(module, "weight")}


@pytest.mark.parametrize("stem", ["separable", "dense"])
def test_standard_deviations(stem):
    """He's rule is sqrt(2 / fan in), for a linear step 1 / sqrt(fan in); the classifier has 0.01."""
    found = weights(built(stem=stem, width=1.0))
    assert len(found) == 69 + 1 + (stem == "separable")
    for name, w in found.items():
        fan_in = w[0].numel()
        gain = 1 if name.endswith("depthwise") else 2
        expected = 0.01 if name == "classifier" else (gain / fan_in) ** 0.5
        spread = 4 / (2 * w.numel()) ** 0.5  # four standard errors
        assert abs(w.std().item() / expected - 1) < spread
        assert abs(w.mean().item()) < 4 * expected / w.numel() ** 0.5


def test_the_stem_doubles_the_mean_square():
    """As He's rule intends, since ReLU then halves it; separable and dense stems have the same gain."""
    x = torch.randn(4, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    for stem in ("separable", "dense"):
        sizes = [built(seed, norm="none", stem=stem).conv1.conv(x).square().mean() for seed in range(8)]
        assert 1.6 < torch.stack(sizes).mean() < 2.4


@pytest.mark.parametrize("norm", ["none", "batch", "ghost", "layer", "group"])
def test_biases_gamma_and_beta(norm):
    for name, p in built(norm=norm).named_parameters():
        if name.endswith("norm.weight"):
            assert torch.equal(p, torch.ones_like(p))
        elif name.endswith("bias"):
            assert torch.equal(p, torch.zeros_like(p))


@pytest.mark.parametrize(
    "options",
    [
        {"norm": "none", "lrn": True, "dropout": 0.4},
        {"norm": "ghost", "nonlinearity": "sigmoid"},
        {"norm": "layer"},
        {"norm": "group"},
        {"per_activation": ("5b",), "size": 64},
    ],
)
def test_a_seed_gives_the_same_weights_whatever_the_options(options):
    ours, plain = weights(built(3, **options)), weights(built(3))
    assert ours.keys() == plain.keys()
    assert all(torch.equal(ours[name], plain[name]) for name in plain)


def test_weights_depend_on_the_generator_alone():
    first, second = weights(built(0)), weights(built(1))
    assert not any(torch.equal(first[name], second[name]) for name in first)
    torch.manual_seed(5)
    assert all(map(torch.equal, weights(built(0)).values(), first.values()))


@pytest.mark.parametrize("stem", ["separable", *slowly("dense")])
def test_init_scale_multiplies_each_convolution_and_nothing_else(stem):
    larger, plain = built(init_scale=2.0, stem=stem, norm="none"), built(stem=stem, norm="none")
    x = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    for name, unit in larger.units.items():
        u = x if name == "conv1" else torch.randn(2, unit.get_parameter("conv.weight").shape[1], 5, 5)
        assert_close(unit.conv(u), 2 * plain.units[name].conv(u))
    assert torch.equal(larger.classifier.weight, plain.classifier.weight)
    assert torch.equal(larger.classifier.bias, plain.classifier.bias)
