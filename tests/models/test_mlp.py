"""The network of section 4.1."""

import pytest
import torch
from torch import nn

from bn.data.seeds import generator
from bn.errors import UserError
from bn.models import mlp
from bn.norm import BatchNorm


@pytest.mark.parametrize(
    ("norm", "count"),
    [
        ("none", 784 * 100 + 100 + 2 * (100 * 100 + 100) + 100 * 10 + 10),
        ("batch", 784 * 100 + 200 + 2 * (100 * 100 + 200) + 100 * 10 + 10),  # gamma, beta; no bias
    ],
)
def test_parameter_count(norm: str, count: int) -> None:
    assert sum(p.numel() for p in mlp(norm=norm).parameters()) == count


def test_forward_follows_the_equations_of_the_paper() -> None:
    model = mlp(norm="batch", generator=generator(0, "init")).double()
    x = torch.rand(60, 784, generator=generator(1)).double()
    z = x
    for layer in model.layers:
        u = z @ layer.linear.weight.T
        xhat = (u - u.mean(0)) / (u.var(0, unbiased=False) + 1e-5).sqrt()
        z = 1 / (1 + torch.exp(-xhat))  # gamma 1, beta 0 initially
    logits = z @ model.classifier.weight.T + model.classifier.bias
    torch.testing.assert_close(model(x), logits, rtol=1e-12, atol=1e-12)


def test_weights_are_gaussian_and_the_same_with_and_without_bn() -> None:
    one = mlp(norm="none", init_std=0.03, generator=generator(5, "init"))
    two = mlp(norm="batch", init_std=0.03, generator=generator(5, "init"))
    for a, b in zip(one.layers, two.layers, strict=True):
        assert torch.equal(a.linear.weight, b.linear.weight)
        assert b.linear.bias is None
        assert not a.linear.bias.any()
    weights = one.layers[0].linear.weight
    n = weights.numel()
    # Mean, variance and kurtosis of 78,400 normal draws, each within 5 standard errors.
    assert abs(weights.mean()) < 5 * 0.03 / n**0.5
    assert abs(weights.std() / 0.03 - 1) < 5 / (2 * n) ** 0.5
    assert abs(((weights / 0.03) ** 4).mean() - 3) < 5 * (96 / n) ** 0.5


def test_layers_and_nonlinearities() -> None:
    model = mlp(hidden=(7, 5), nonlinearity="relu", norm="batch")
    assert [layer.linear.out_features for layer in model.layers] == [7, 5]
    assert all(isinstance(layer.nonlinearity, nn.ReLU) for layer in model.layers)
    assert all(isinstance(layer.norm, BatchNorm) for layer in model.layers)
    assert model(torch.rand(3, 784)).shape == (3, 10)


def test_unknown_norm_is_refused() -> None:
    with pytest.raises(UserError, match="norm='weight': accepted: none, batch, ghost, layer, group"):
        mlp(norm="weight")


@pytest.mark.parametrize("place", ["before", "after", "input"])
def test_the_places_of_bn(place) -> None:
    model = mlp(20, (8, 7), norm_place=place, generator=generator(3)).double()
    x = torch.rand(30, 20, generator=generator(4)).double()

    def normalized(values):
        return (values - values.mean(0)) / (values.var(0, unbiased=False) + 1e-5).sqrt()

    z = x
    for layer in model.layers:
        if layer.linear.bias is not None:
            layer.linear.bias.data += 0.3
        if place == "input":
            z = torch.sigmoid(normalized(z) @ layer.linear.weight.T + layer.linear.bias)
        elif place == "after":
            z = normalized(torch.sigmoid(z @ layer.linear.weight.T + layer.linear.bias))
        else:
            assert layer.linear.bias is None
            z = torch.sigmoid(normalized(z @ layer.linear.weight.T))
    torch.testing.assert_close(model(x), z @ model.classifier.weight.T + model.classifier.bias)


def test_w_is_the_same_wherever_bn_is() -> None:
    one, two = (mlp(norm_place=place, generator=generator(5)) for place in ("before", "after"))
    for a, b in zip(one.layers, two.layers, strict=True):
        assert torch.equal(a.linear.weight, b.linear.weight)
        assert not b.linear.bias.any()


def test_dropout_acts_on_a_layers_output_in_training() -> None:
    model = mlp(hidden=(1000,), nonlinearity="relu", dropout=0.2, norm="none", generator=generator(6))
    layer = model.layers[0]
    x = torch.rand(50, 784, generator=generator(7))
    whole = layer.eval()(x)
    torch.testing.assert_close(whole, layer.linear(x).relu())
    torch.manual_seed(0)
    some = layer.train()(x)
    alive = whole > 0
    kept = (some > 0) & alive
    assert kept.sum() / alive.sum() == pytest.approx(0.8, abs=0.02)
    torch.testing.assert_close(some[kept], whole[kept] / 0.8)
    assert not mlp(dropout=0.0).layers[0].dropout.state_dict()
