"""Algorithm 2 equals its equations, computed directly in float64."""

from functools import partial

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from bn.norm import BatchNorm, population_statistics, reference_forward

exactly = partial(assert_close, rtol=1e-12, atol=1e-12)


def normal(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def drifting(sizes, *shape):
    """Return mini-batches with different means: batch variances of about 1, a far larger pooled variance."""
    return [normal(m, *shape, seed=i) + 5 * i for i, m in enumerate(sizes)]


def network(eps=1e-5, norm=BatchNorm):
    torch.manual_seed(0)
    first, last = norm(5, eps=eps), norm(3, eps=eps)
    for i, p in enumerate([*first.parameters(), *last.parameters()]):
        p.data = normal(*p.shape, seed=i)
    return nn.Sequential(nn.Linear(4, 5), first, nn.Sigmoid(), nn.Linear(5, 3), last).double()


def algorithm_2(batches):
    """Compute E[x] and Var[x] of a layer's inputs by the paper's formula, for batches of equal size m."""
    ones, zeros = torch.ones_like(batches[0][0]), torch.zeros_like(batches[0][0])
    parts = [reference_forward(x, ones, zeros) for x in batches]
    m = len(batches[0])
    mean = torch.stack([part.mean for part in parts]).mean(0)
    var = m / (m - 1) * torch.stack([part.var for part in parts]).mean(0)
    return mean, var


@pytest.mark.parametrize("norm", [BatchNorm, nn.BatchNorm1d])
def test_every_layer_of_a_network_has_its_population_statistics(norm):
    """A later layer sees the inputs of training: the earlier BN normalizes by the mini-batch."""
    model, batches = network(norm=norm), drifting([8] * 6, 4)
    first, bn, sigmoid, second, last = model
    gamma, beta = (p.detach() for p in bn.parameters())
    inputs = [first(x).detach() for x in batches]
    later = [second(sigmoid(reference_forward(x, gamma, beta).y)).detach() for x in inputs]
    population_statistics(model, batches)
    for layer, values in [(bn, inputs), (last, later)]:
        statistics = layer.get_buffer("running_mean"), layer.get_buffer("running_var")
        exactly(statistics, algorithm_2(values))
    with_inference_activations = [second(sigmoid(bn.eval()(x))).detach() for x in inputs]
    _, var = algorithm_2(with_inference_activations)
    assert (last.get_buffer("running_var") - var).abs().max() > 0.01


def test_normalized_by_them_activations_have_mean_0_and_variance_1():
    """Section 3.1, neglecting eps, over the mini-batches of the training network.

    As Algorithm 2 defines it, the variance is the mean of the unbiased variances within the mini-batches.
    """
    model, batches = network(eps=1e-300), drifting([8] * 6, 4)
    first, bn, sigmoid, second, last = model
    inputs = [first(x).detach() for x in batches]
    later = [second(sigmoid(bn(x))).detach() for x in inputs]  # in training mode
    population_statistics(model, batches)
    for layer, values in [(bn, inputs), (last, later)]:
        gamma, beta = layer.parameters()
        xhat = [(layer.eval()(x) - beta) / gamma for x in values]
        exactly(torch.cat(xhat).mean(0), torch.zeros_like(beta))
        exactly(torch.stack([x.var(0) for x in xhat]).mean(0), torch.ones_like(beta))


def test_the_variance_is_not_the_pooled_one():
    batches = drifting([8] * 6, 3)
    bn = BatchNorm(3).double()
    population_statistics(bn, batches)
    batch_variances = torch.stack([x.var(0, correction=1) for x in batches]).mean(0)
    exactly(bn.running_var, batch_variances)
    assert (torch.cat(batches).var(0) > 10 * bn.running_var).all()


@pytest.mark.parametrize("sizes", [[8, 8, 3], [2, 8], [5], [7, 2, 4, 2]])
def test_unequal_batches_weigh_values_and_degrees_of_freedom(sizes):
    batches = drifting(sizes, 3)
    bn = BatchNorm(3).double()
    population_statistics(bn, batches)
    squares = sum((x - x.mean(0)).square().sum(0) for x in batches)
    exactly(bn.running_mean, torch.cat(batches).mean(0))
    exactly(bn.running_var, squares / (sum(sizes) - len(sizes)))


@pytest.mark.parametrize("norm", [BatchNorm, nn.BatchNorm2d])
def test_convolution_counts_batch_and_locations(norm):
    batches = drifting([4, 4, 2], 3, 2, 5)
    bn = norm(3).double()
    population_statistics(bn, batches)
    rows = [x.permute(0, 2, 3, 1).reshape(-1, 3) for x in batches]
    as_rows = BatchNorm(3).double()
    population_statistics(as_rows, rows)
    squares = sum((x - x.mean(0)).square().sum(0) for x in rows)
    exactly(bn.running_var, squares / (100 - 3))
    exactly(bn.running_mean, as_rows.running_mean)
    exactly(bn.running_var, as_rows.running_var)


def test_per_activation_counts_the_batch_alone():
    batches = drifting([4, 4], 3, 2, 2)
    bn = BatchNorm((3, 2, 2)).double()
    population_statistics(bn, batches)
    mean, var = algorithm_2(batches)
    exactly(bn.running_mean, mean)
    exactly(bn.running_var, var)


def test_float32_statistics_are_the_float64_ones_rounded_once():
    batches = [(1000 + normal(8, 3, seed=i)).float() for i in range(50)]
    bn = BatchNorm(3)
    population_statistics(bn, batches)
    mean, var = algorithm_2([x.double() for x in batches])
    assert_close(bn.running_mean, mean.float(), rtol=1e-7, atol=0)
    assert_close(bn.running_var, var.float(), rtol=1e-7, atol=0)


def test_bfloat16_activations_are_averaged_in_float64():
    """As under mixed precision, activations have 8 significant bits and the statistics are float32."""
    batches = [(10 + normal(8, 3, seed=i)).bfloat16() for i in range(20)]
    bn = BatchNorm(3)
    population_statistics(bn, batches)
    mean, var = algorithm_2([x.double() for x in batches])
    assert_close(bn.running_mean, mean.float(), rtol=1e-7, atol=0)
    assert_close(bn.running_var, var.float(), rtol=1e-7, atol=0)


def test_the_result_does_not_depend_on_earlier_statistics_or_momentum():
    batches = drifting([8] * 3, 4)
    fresh, used = network(), network()
    used(1000 * normal(8, 4, seed=9))
    for model in (fresh, used):
        population_statistics(model, batches)
    for a, b in zip(fresh.buffers(), used.buffers(), strict=True):
        assert torch.equal(a, b)
    population_statistics(used, iter(batches))
    for a, b in zip(fresh.buffers(), used.buffers(), strict=True):
        assert torch.equal(a, b)


def test_allows_evaluation_and_otherwise_keeps_the_count_of_batches():
    model, batches = network(), drifting([8] * 3, 4)
    counts = [model.get_buffer(f"{i}.num_batches_tracked") for i in (1, 4)]
    population_statistics(model, batches)
    assert counts == [1, 1]
    model.eval()(batches[0])
    model.train()
    for _ in range(4):
        model(batches[0])
    population_statistics(model, batches)
    assert counts == [5, 5]


def test_inference_is_one_fixed_affine_map():
    """Step 11: y = gamma / sqrt(Var + eps) x + (beta - gamma E / sqrt(Var + eps))."""
    batches = drifting([8] * 3, 3)
    bn = BatchNorm(3, eps=0.1).double()
    with torch.no_grad():
        bn.weight.copy_(normal(3))
        bn.bias.copy_(normal(3, seed=1))
    population_statistics(bn, batches)
    bn.eval()
    x = normal(6, 3, seed=7)
    mean, var = algorithm_2(batches)
    scale = bn.weight / (var + 0.1).sqrt()
    exactly(bn(x), scale * x + (bn.bias - scale * mean))


def test_adapts_to_a_new_input_distribution():
    """The conclusion's future work: new population statistics alone undo an affine change.

    The first layer is linear, so the adapted network maps 3 x + 5 to the outputs that x had before.
    """
    model, batches = network(eps=1e-300), drifting([8] * 4, 4)
    x = normal(6, 4, seed=7)
    population_statistics(model, batches)
    parameters = [p.clone() for p in model.parameters()]
    before = model.eval()(x)
    assert (model(3 * x + 5) - before).abs().max() > 0.1
    population_statistics(model, [3 * x + 5 for x in batches])
    assert_close(model(3 * x + 5), before, rtol=1e-10, atol=1e-10)
    assert all(map(torch.equal, model.parameters(), parameters))


def test_dropout_is_off():
    plain, batches = network(), drifting([8] * 3, 4)
    dropping = nn.Sequential(nn.Dropout(0.5), *plain[:3], nn.Dropout(0.5), *plain[3:])
    assert dropping.training
    population_statistics(plain, batches)
    expected = [b.clone() for b in plain.buffers()]
    population_statistics(dropping, batches)
    assert all(map(torch.equal, dropping.buffers(), expected))


def test_a_layer_used_twice_averages_over_its_uses():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.bn = BatchNorm(3).double()

        def forward(self, x):
            return self.bn(x) + self.bn(2 * x + 1)

    model, batches = Twice(), drifting([8] * 3, 3)
    population_statistics(model, batches)
    mean, var = algorithm_2([y for x in batches for y in (x, 2 * x + 1)])
    exactly(model.bn.running_mean, mean)
    exactly(model.bn.running_var, var)


def test_statistics_keep_their_storage():
    model = network()
    before = [(id(b), b.data_ptr()) for b in model.buffers()]
    population_statistics(model, drifting([8] * 3, 4))
    assert [(id(b), b.data_ptr()) for b in model.buffers()] == before
