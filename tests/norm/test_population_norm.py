"""PopulationNorm normalizes by the moving averages in training and has BN's gradient."""

import pytest
import torch
from torch import nn

from bn.models import mlp
from bn.norm import BatchNorm, population_statistics
from bn.norm.population import PopulationNorm


def randomized(shape, features=3):
    """Return a layer with random averages, gamma and beta, and an input for it."""
    norm = PopulationNorm(features, eps=1e-3).double()
    g = torch.Generator().manual_seed(0)
    for tensor in (norm.running_mean, norm.weight.data, norm.bias.data):
        tensor.copy_(torch.randn(tensor.shape, generator=g))
    norm.running_var.copy_(torch.rand(norm.running_var.shape, generator=g) + 0.5)
    return norm, torch.randn(shape, generator=g, dtype=torch.float64) * 2 + 1


def by_hand(norm, x):
    shape = (1, -1, *[1] * (x.dim() - 2))
    mean, var = norm.running_mean.view(shape), norm.running_var.view(shape)
    xhat = (x - mean) / torch.sqrt(var + norm.eps)
    return norm.weight.view(shape) * xhat + norm.bias.view(shape)


@pytest.mark.parametrize("shape", [(6, 3), (4, 3, 2, 5)])
def test_it_normalizes_by_the_averages_before_this_mini_batch(shape):
    norm, x = randomized(shape)
    expected = by_hand(norm, x)
    torch.testing.assert_close(norm(x), expected)


@pytest.mark.parametrize("shape", [(6, 3), (4, 3, 2, 5)])
def test_its_averages_are_updated_as_in_bn(shape):
    norm, x = randomized(shape)
    other = BatchNorm(3, eps=1e-3).double()
    other.load_state_dict(norm.state_dict())
    norm(x)
    other(x)
    for name, tensor in norm.state_dict().items():
        torch.testing.assert_close(tensor, other.state_dict()[name])
    assert norm.num_batches_tracked == 1


def test_its_gradient_is_that_of_bn_scaled_to_the_population():
    """The gradient of batch renormalization: r and d are constants, xhat is differentiated."""
    norm, x = randomized((6, 3))
    mean, std = norm.running_mean.clone(), torch.sqrt(norm.running_var + norm.eps)
    weights = torch.randn(6, 3, dtype=torch.float64)
    x.requires_grad_()
    gradients = torch.autograd.grad((norm(x) * weights).sum(), [x, norm.weight, norm.bias])

    mu, sigma = x.mean(0), torch.sqrt(x.var(0, correction=0) + norm.eps)
    r, d = (sigma / std).detach(), ((mu - mean) / std).detach()
    y = norm.weight * ((x - mu) / sigma * r + d) + norm.bias
    expected = torch.autograd.grad((y * weights).sum(), [x, norm.weight, norm.bias])
    for one, other in zip(gradients, expected, strict=True):
        torch.testing.assert_close(one, other)
    assert (
        gradients[0].sum(0).abs().max() < 1e-12
    )  # as for BN, whose output a shift of the mini-batch does not change


def test_an_output_depends_on_its_own_input_alone():
    norm, x = randomized((6, 3))
    other = x.clone()
    other[1:] *= 3
    alike = norm(x)[0]
    norm.load_state_dict(randomized((6, 3))[0].state_dict())
    torch.testing.assert_close(norm(other)[0], alike)


def test_it_equals_bn_in_evaluation():
    norm, x = randomized((6, 3))
    norm.num_batches_tracked += 1
    other = BatchNorm(3, eps=1e-3).double()
    other.load_state_dict(norm.state_dict())
    assert torch.equal(norm.eval()(x), other.eval()(x))


@pytest.mark.parametrize("shape", [(1, 3), (6, 4)])
def test_a_wrong_shape_is_refused_and_changes_nothing(shape):
    norm, _ = randomized((6, 3))
    before = norm.running_mean.clone()
    with pytest.raises(ValueError, match="shape"):
        norm(torch.randn(shape, dtype=torch.float64))
    assert torch.equal(norm.running_mean, before)


def test_algorithm_2_takes_its_statistics():
    network = nn.Sequential(PopulationNorm(3))
    x = torch.randn(8, 3)
    population_statistics(network, [x])
    norm = network[0]
    assert isinstance(norm, PopulationNorm)
    torch.testing.assert_close(norm.running_mean, x.mean(0))
    torch.testing.assert_close(norm.running_var, x.var(0))


def test_the_config_names_it():
    norm = mlp(norm="population", bn_eps=1e-3, bn_momentum=0.2).layers[0].norm
    assert type(norm) is PopulationNorm
    assert (norm.eps, norm.momentum) == (1e-3, 0.2)
