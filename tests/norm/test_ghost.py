"""Ghost batch normalization normalizes each group of a mini-batch as if it were alone."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.testing import assert_close

from bn.norm import BatchNorm, population_statistics
from bn.norm.ghost import ghost_norm, ghost_norm_one_call

GROUP, GROUPS = 4, 3
# features, shape of the mini-batch
FORMS = [(3, (GROUPS * GROUP, 3)), (3, (GROUPS * GROUP, 3, 5, 2)), ((3, 5, 2), (GROUPS * GROUP, 3, 5, 2))]


def draw(*shape, seed=0, dtype=torch.float32):
    """Return values whose mean and spread drift along the mini-batch, so that all groups differ."""
    g = torch.Generator().manual_seed(seed)
    along = torch.arange(shape[0], dtype=dtype).view(-1, *[1] * (len(shape) - 1))
    return along + (1 + along) * torch.randn(shape, generator=g, dtype=dtype)


def layer_of(features, **options):
    """Return a layer with random gamma, beta and moving averages, so that any error in using them shows."""
    g = torch.Generator().manual_seed(1)
    layer = BatchNorm(features, **{"group": GROUP, **options})
    with torch.no_grad():
        for t in (*layer.parameters(), layer.running_mean):
            t.copy_(torch.randn(t.shape, generator=g))
        layer.running_var.copy_(torch.rand(layer.running_var.shape, generator=g))
    return layer


def memory_formats(shape):
    return [torch.contiguous_format, *([torch.channels_last] if len(shape) == 4 else [])]


CASES = [(features, shape, layout) for features, shape in FORMS for layout in memory_formats(shape)]


@pytest.mark.parametrize(("features", "shape", "layout"), CASES)
def test_each_group_has_the_bits_it_would_have_alone(features, shape, layout):
    layer = layer_of(features)
    x = draw(*shape).to(memory_format=layout).requires_grad_()
    dy = draw(*shape, seed=2).to(memory_format=layout)
    y = layer(x)
    gradient = torch.autograd.grad(y, x, dy)[0]
    assert y.is_contiguous(memory_format=layout)
    gamma, beta = layer.weight.flatten(), layer.bias.flatten()
    for i in range(GROUPS):
        rows = slice(i * GROUP, (i + 1) * GROUP)
        part = x.detach()[rows].requires_grad_()
        values = part.flatten(1) if isinstance(features, tuple) else part
        alone = F.batch_norm(values, None, None, gamma, beta, training=True).view(part.shape)
        assert torch.equal(y[rows], alone)
        assert torch.equal(gradient[rows], torch.autograd.grad(alone, part, dy[rows])[0])


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize(("features", "shape", "layout"), CASES)
def test_one_call_for_all_groups_equals_one_call_per_group(features, shape, layout, dtype):
    """GPUs use the one call; here it runs on the CPU."""
    layer = layer_of(features).to(dtype)
    x = draw(*shape, dtype=dtype).to(memory_format=layout).requires_grad_()
    dy = draw(*shape, seed=2, dtype=dtype).to(memory_format=layout)
    inputs = (x, layer.weight, layer.bias)
    found = []
    for normalize in (ghost_norm, ghost_norm_one_call):
        y, mean, var = normalize(x.split(GROUP), layer.weight, layer.bias, layer.eps)
        assert y.is_contiguous(memory_format=layout)
        found.append((y, mean, var, torch.autograd.grad(y, inputs, dy)))
    tolerance = 1e-12 if dtype == torch.float64 else 2e-5
    assert_close(found[1], found[0], rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(("features", "shape"), FORMS)
def test_gradients_of_gamma_and_beta_are_the_sums_over_the_groups(features, shape):
    layer = layer_of(features).double()
    x, dy = draw(*shape, dtype=torch.float64), draw(*shape, seed=2, dtype=torch.float64)
    layer(x).backward(dy)
    dims = (0,) if isinstance(features, tuple) else (0, *range(2, x.dim()))
    d_gamma = d_beta = torch.zeros(())
    for part, upstream in zip(x.split(GROUP), dy.split(GROUP), strict=True):
        xhat = (part - part.mean(dims, keepdim=True)) / torch.sqrt(
            part.var(dims, correction=0, keepdim=True) + layer.eps
        )
        d_gamma, d_beta = d_gamma + (upstream * xhat).sum(dims), d_beta + upstream.sum(dims)
    assert_close(layer.weight.grad, d_gamma, rtol=1e-10, atol=1e-10)
    assert_close(layer.bias.grad, d_beta, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("features", "shape"), FORMS)
def test_moving_averages_are_updated_once_by_the_mean_of_the_groups(features, shape):
    layer = layer_of(features, momentum=0.25).double()
    mean, var = layer.running_mean.clone(), layer.running_var.clone()
    dims = (0,) if isinstance(features, tuple) else (0, *range(2, len(shape)))
    for step in range(3):
        x = draw(*shape, seed=step, dtype=torch.float64)
        layer(x)
        parts = x.split(GROUP)
        mean = 0.75 * mean + 0.25 * sum(part.mean(dims) for part in parts) / GROUPS
        var = 0.75 * var + 0.25 * sum(part.var(dims, correction=1) for part in parts) / GROUPS
    assert_close(layer.running_mean, mean, rtol=1e-12, atol=1e-12)
    assert_close(layer.running_var, var, rtol=1e-12, atol=1e-12)
    assert layer.num_batches_tracked == 3


@pytest.mark.parametrize(("features", "shape"), FORMS)
def test_one_group_is_the_whole_mini_batch(features, shape):
    ghost, plain = layer_of(features, group=shape[0]), layer_of(features, group=None)
    x = draw(*shape)
    assert torch.equal(ghost(x), plain(x))
    assert all(map(torch.equal, ghost.buffers(), plain.buffers()))


@pytest.mark.parametrize(("features", "shape"), FORMS)
def test_evaluation_uses_no_groups(features, shape):
    ghost, plain = layer_of(features), layer_of(features, group=None)
    ghost(draw(*shape))
    plain.load_state_dict(ghost.state_dict())
    x = draw(GROUP + 1, *shape[1:], seed=3)  # not a multiple of the group
    assert torch.equal(ghost.eval()(x), plain.eval()(x))


@pytest.mark.parametrize("examples", [1, GROUP - 1, GROUP + 1, 2 * GROUP + 2])
def test_uneven_groups_are_refused_and_change_nothing(examples):
    layer = layer_of(3)
    before = [t.clone() for t in layer.buffers()]
    with pytest.raises(
        ValueError, match=f"mini-batch of {examples} cannot be normalized in groups of {GROUP}"
    ):
        layer(draw(examples, 3))
    assert all(map(torch.equal, layer.buffers(), before))


def test_a_group_with_one_value_per_channel_is_refused():
    with pytest.raises(ValueError, match="more than one value per channel"):
        layer_of(3, group=1)(draw(4, 3))
    with pytest.raises(ValueError, match="more than one value per channel"):
        layer_of((3, 5, 2), group=1)(draw(4, 3, 5, 2))
    layer_of(3, group=1)(draw(4, 3, 5, 2))  # ten locations each


@pytest.mark.parametrize("group", [0, -1])
def test_a_group_is_positive(group):
    with pytest.raises(ValueError, match=f"group must be a positive int or None, got {group}"):
        BatchNorm(3, group=group)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("features", [3, (3, 5, 2)])
def test_low_precision_input_has_float32_statistics(features, dtype):
    layer = layer_of(features, momentum=1.0)
    x = draw(GROUPS * GROUP, 3, 5, 2).to(dtype)
    assert layer(x).dtype == dtype
    dims = (0,) if isinstance(features, tuple) else (0, 2, 3)
    expected = sum(part.double().var(dims) for part in x.split(GROUP)) / GROUPS
    assert_close(layer.running_var.double(), expected, rtol=1e-5, atol=0)


def test_population_statistics_treat_each_group_as_a_mini_batch():
    def network(group):
        torch.manual_seed(0)
        layers = [nn.Conv2d(2, 3, 3), BatchNorm(3, group=group), nn.ReLU(), nn.Conv2d(3, 4, 1)]
        return nn.Sequential(*layers, BatchNorm((4, 2, 2), group=group)).double()

    batches = [draw(GROUPS * GROUP, 2, 4, 4, seed=seed, dtype=torch.float64) for seed in range(2)]
    ghost, plain = network(GROUP), network(None)
    population_statistics(ghost, batches)
    population_statistics(plain, [part for batch in batches for part in batch.split(GROUP)])
    whole = network(None)
    population_statistics(whole, batches)
    for name, expected in plain.state_dict().items():
        assert_close(ghost.state_dict()[name], expected, rtol=1e-12, atol=1e-12)
    assert not torch.allclose(whole.state_dict()["1.running_var"], plain.state_dict()["1.running_var"])


def test_population_statistics_name_the_layer_with_uneven_groups():
    network = nn.Sequential(nn.Linear(2, 3), BatchNorm(3, group=GROUP))
    before = [t.clone() for t in network.buffers()]
    with pytest.raises(ValueError, match=r"^1: a mini-batch of 6 cannot be normalized in groups of 4$"):
        population_statistics(network, [torch.randn(4, 2), torch.randn(6, 2)])
    assert all(map(torch.equal, network.buffers(), before))


@pytest.mark.slow
@pytest.mark.parametrize(("features", "shape", "layout"), CASES)
@pytest.mark.parametrize("training", [True, False])
def test_compiles_without_graph_breaks_to_the_same_numbers(features, shape, layout, training):
    """The graph is functionalized, as for every backend, without a backend's own rounding."""
    eager, ours = layer_of(features).train(training), layer_of(features).train(training)
    for layer in (eager, ours):
        layer.num_batches_tracked.fill_(1)
    torch.compiler.reset()
    compiled = torch.compile(ours, backend="aot_eager", fullgraph=True)
    x, dy = draw(*shape).to(memory_format=layout).requires_grad_(), draw(*shape, seed=2)
    y, expected = compiled(x), eager(x)
    assert_close(y, expected)
    assert y.is_contiguous(memory_format=layout)
    gradients = torch.autograd.grad(y, (x, *ours.parameters()), dy)
    assert_close(gradients, torch.autograd.grad(expected, (x, *eager.parameters()), dy), rtol=1e-5, atol=1e-4)
    assert_close(list(ours.buffers()), list(eager.buffers()))


def test_compiled_evaluation_does_not_check_for_statistics():
    layer = BatchNorm(3).eval()
    compiled = torch.compile(layer, backend="eager", fullgraph=True)
    x = draw(4, 3)
    assert torch.equal(compiled(x), F.batch_norm(x, layer.running_mean, layer.running_var))
    with pytest.raises(RuntimeError, match="no statistics"):
        layer(x)
