"""The BatchNorm module equals torch's bit for bit, and errors leave it unchanged."""

import copy
import io
from functools import partial

import pytest
import torch
from torch import nn
from torch.func import functional_call
from torch.testing import assert_close
from torch.utils._python_dispatch import TorchDispatchMode

from bn.norm import BatchNorm, batch_norm, reference_forward

# features, input shape, the equivalent torch layer
FORMS = [
    (3, (5, 3), nn.BatchNorm1d),
    (3, (4, 3, 2, 5), nn.BatchNorm2d),
    ((3, 2, 2), (4, 3, 2, 2), None),
]

exactly = partial(assert_close, rtol=1e-12, atol=1e-12)


def draw(*shape, seed=0, dtype=torch.float32):
    g = torch.Generator().manual_seed(seed)
    return 3 + 2 * torch.randn(shape, generator=g, dtype=dtype)


def randomize(layer, seed=1):
    """Give gamma and beta random values, so that any error in using them shows."""
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in layer.parameters():
            p.copy_(torch.randn(p.shape, generator=g))
    return layer


@pytest.mark.parametrize(("features", "shape", "_"), FORMS)
@pytest.mark.parametrize("training", [True, False])
def test_module_passes_gradcheck(features, shape, _, training):
    layer = randomize(BatchNorm(features).double())
    layer(draw(*shape, seed=9, dtype=torch.float64))
    layer.train(training)

    def call(x, gamma, beta):
        return functional_call(layer, {"weight": gamma, "bias": beta}, x)

    leaves = (layer.weight.detach().clone(), layer.bias.detach().clone())
    inputs = (draw(*shape, dtype=torch.float64), *leaves)
    assert torch.autograd.gradcheck(call, [t.requires_grad_() for t in inputs])


@pytest.mark.parametrize(("features", "shape", "torch_norm"), FORMS[:2])
@pytest.mark.parametrize(("eps", "momentum"), [(1e-5, 0.1), (1e-3, 0.01), (0.1, 1.0)])
def test_equals_torch_bit_for_bit_over_several_steps(features, shape, torch_norm, eps, momentum):
    theirs = randomize(torch_norm(features, eps=eps, momentum=momentum))
    ours = BatchNorm(features, eps=eps, momentum=momentum)
    ours.load_state_dict(theirs.state_dict())
    for step in range(4):
        x, dy = draw(*shape, seed=step).requires_grad_(), draw(*shape, seed=10 + step)
        y, z = ours(x), theirs(x)
        assert torch.equal(y, z)
        gradients = torch.autograd.grad(y, (x, ours.weight, ours.bias), dy)
        expected = torch.autograd.grad(z, (x, theirs.weight, theirs.bias), dy)
        assert all(map(torch.equal, gradients, expected))
    state, expected = ours.state_dict(), theirs.state_dict()
    assert list(state) == list(expected)
    assert all(torch.equal(state[name], expected[name]) for name in state)
    assert ours.num_batches_tracked == 4
    x = draw(*shape, seed=9)
    assert torch.equal(ours.eval()(x), theirs.eval()(x))


@pytest.mark.parametrize(("features", "shape", "torch_norm"), FORMS[:2])
def test_state_dicts_are_interchangeable_with_torchs(features, shape, torch_norm):
    theirs, ours = torch_norm(features), BatchNorm(features)
    for layer in (theirs, ours):
        state = layer.state_dict()
        assert {k: (tuple(v.shape), v.dtype) for k, v in state.items()} == {
            "weight": ((3,), torch.float32),
            "bias": ((3,), torch.float32),
            "running_mean": ((3,), torch.float32),
            "running_var": ((3,), torch.float32),
            "num_batches_tracked": ((), torch.int64),
        }
    assert all(torch.equal(a, b) for a, b in zip(ours.buffers(), theirs.buffers(), strict=True))
    x = draw(*shape)
    for source, target in [(ours, torch_norm(features)), (theirs, BatchNorm(features))]:
        randomize(source)(x)
        target.load_state_dict(source.state_dict())
        assert torch.equal(source.eval()(x), target.eval()(x))


def test_statistics_are_buffers_and_saved():
    layer = BatchNorm(3)
    layer(draw(5, 3))
    file = io.BytesIO()
    torch.save(layer.state_dict(), file)
    file.seek(0)
    restored = BatchNorm(3)
    restored.load_state_dict(torch.load(file, weights_only=True))
    assert [name for name, _ in layer.named_buffers()] == [
        "running_mean",
        "running_var",
        "num_batches_tracked",
    ]
    assert [name for name, _ in layer.named_parameters()] == ["weight", "bias"]
    assert torch.equal(restored.eval()(draw(2, 3)), layer.eval()(draw(2, 3)))


def test_initial_values():
    layer = BatchNorm((2, 3, 3))
    assert all(t.shape == (2, 3, 3) for t in list(layer.parameters()) + list(layer.buffers())[:2])
    values = [t.unique().tolist() for t in (*layer.parameters(), *layer.buffers())]
    assert values == [[1], [0], [0], [1], [0]]


@pytest.mark.parametrize(("features", "shape", "_"), FORMS)
def test_one_pair_per_channel_or_activation(features, shape, _):
    """gamma and beta are not scalars of the layer: each entry affects only its own outputs."""
    layer = BatchNorm(features)
    x = draw(*shape)
    before = layer(x)
    with torch.no_grad():
        layer.bias.view(-1)[1] += 1
        layer.weight.view(-1)[0] *= 2
    moved = (layer(x) != before).any(0).view(layer.weight.numel(), -1).any(1)
    assert moved.nonzero().view(-1).tolist() == [0, 1]


@pytest.mark.parametrize(("features", "shape", "_"), FORMS)
def test_moving_averages_use_the_unbiased_variance_and_torchs_momentum(features, shape, _):
    layer = BatchNorm(features, momentum=0.25).double()
    mean, var = torch.zeros_like(layer.running_mean), torch.ones_like(layer.running_var)
    dims = [0] if isinstance(features, tuple) or len(shape) == 2 else [0, 2, 3]
    for step in range(3):
        x = draw(*shape, seed=step, dtype=torch.float64)
        layer(x)
        mean = 0.75 * mean + 0.25 * x.mean(dims)
        var = 0.75 * var + 0.25 * x.var(dims, correction=1)
    exactly(layer.running_mean, mean)
    exactly(layer.running_var, var)


@pytest.mark.parametrize(("features", "shape", "_"), FORMS)
def test_training_output_is_algorithm_1_and_evaluation_uses_the_moving_averages(features, shape, _):
    layer = randomize(BatchNorm(features, eps=0.01).double())
    x = draw(*shape, dtype=torch.float64)
    gamma, beta = layer.weight.detach(), layer.bias.detach()
    exactly(layer(x).detach(), reference_forward(x, gamma, beta, 0.01).y)
    assert torch.equal(layer(x), batch_norm(x, layer.weight, layer.bias, 0.01))
    maps = [1, 3, 1, 1] if features == 3 and len(shape) == 4 else [1, *gamma.shape]
    kept = [t.view(maps) for t in (gamma, beta, layer.running_mean, layer.running_var)]
    scale = kept[0] / (kept[3] + 0.01).sqrt()
    expected = scale * x + (kept[1] - kept[2] * scale)
    exactly(layer.eval()(x).detach(), expected)


def test_last_batch_of_one_raises_before_the_averages_are_updated():
    for features, shape in [(3, (1, 3)), (3, (1, 3, 1, 1)), ((3, 2, 2), (1, 3, 2, 2))]:
        layer = BatchNorm(features)
        layer(draw(4, *shape[1:]))
        before = copy.deepcopy(layer.state_dict())
        with pytest.raises(ValueError, match="more than one value per channel") as error:
            layer(draw(*shape))
        assert "\n" not in str(error.value)
        assert all(torch.equal(layer.state_dict()[name], before[name]) for name in before)
        assert layer.eval()(draw(*shape)).shape == shape


@pytest.mark.parametrize(
    ("features", "shape"),
    [(3, (4, 2)), (3, (4, 3, 2)), (3, (3,)), ((3, 2, 2), (4, 3)), ((3, 2, 2), (4, 3, 2, 3))],
)
@pytest.mark.parametrize("training", [True, False])
def test_wrong_input_shape(features, shape, training):
    layer = BatchNorm(features).train(training)
    with pytest.raises(ValueError, match="batch normalization of") as error:
        layer(torch.ones(shape))
    assert "\n" not in str(error.value)
    assert layer.num_batches_tracked == 0


@pytest.mark.parametrize(
    ("name", "value"),
    [("features", 0), ("features", ()), ("eps", 0.0), ("momentum", 1.1), ("momentum", -0.1)],
)
def test_wrong_arguments(name, value):
    with pytest.raises(ValueError, match=f"^{name} must be"):
        BatchNorm(**{"features": 3} | {name: value})


def test_evaluation_needs_statistics_and_checks_again_after_a_reset_or_load():
    layer, x = BatchNorm(3), draw(4, 3)
    fresh = copy.deepcopy(layer.state_dict())

    def refuses():
        with pytest.raises(RuntimeError, match=r"train .* or call population_statistics") as error:
            layer.eval()(x)
        return "\n" not in str(error.value)

    assert refuses()
    layer.train()(x)
    layer.eval()(x)
    layer.reset_statistics()
    assert all(torch.equal(layer.state_dict()[name], fresh[name]) for name in fresh)
    assert refuses()
    layer.train()(x)
    layer.eval()(x)
    layer.load_state_dict(fresh)
    assert refuses()
    nn.Sequential(layer).load_state_dict({"0." + name: fresh[name] for name in fresh}, assign=True)
    assert refuses()


def test_no_forward_synchronizes_once_statistics_were_seen():
    """Reading a tensor's value makes the host wait for a GPU; only the first evaluation does so."""

    class Reads(TorchDispatchMode):
        count = 0

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            self.count += func is torch.ops.aten._local_scalar_dense.default
            return func(*args, **(kwargs or {}))

    layer, x = BatchNorm(3), draw(4, 3)
    counts = []
    for training in (True, True, False, False, False):
        with Reads() as reads:
            layer.train(training)(x)
        counts.append(reads.count)
    assert counts == [0, 0, 1, 0, 0]


@pytest.mark.parametrize(("features", "shape", "_"), FORMS)
def test_statistics_keep_their_storage_and_alias_nothing(features, shape, _):
    layer = BatchNorm(features)
    buffers = [(b, b.data_ptr()) for b in layer.buffers()]
    x = draw(*shape)
    y = layer(x)
    assert all(a is b for a, (b, _) in zip(layer.buffers(), buffers, strict=True))
    assert all(b.data_ptr() == pointer for b, pointer in buffers)
    before = [b.clone() for b in layer.buffers()]
    assert all(b.any() for b in before)
    x.fill_(100)
    y.detach().fill_(100)
    assert all(torch.equal(a, b) for a, b in zip(layer.buffers(), before, strict=True))
    layer.reset_statistics()
    assert all(b.data_ptr() == pointer for b, pointer in buffers)


@pytest.mark.parametrize(("features", "shape", "_"), FORMS)
def test_inference_does_not_use_the_statistics_of_the_test_batch(features, shape, _):
    layer = BatchNorm(features)
    layer(draw(*shape))
    layer.eval()
    before = [b.clone() for b in layer.buffers()]
    x = draw(*shape, seed=1)
    together = layer(x)
    among_others = layer(torch.cat([x[:1], 1000 * x]))[:1]
    assert torch.equal(layer(x), together)
    assert torch.equal(layer(x[:1]), together[:1])
    assert torch.equal(among_others, together[:1])
    assert all(torch.equal(a, b) for a, b in zip(layer.buffers(), before, strict=True))


@pytest.mark.parametrize("features", [3, (3, 2, 2)])
def test_channels_last_input(features):
    layer = BatchNorm(features)
    x = draw(4, 3, 2, 2)
    y = layer(x.to(memory_format=torch.channels_last))
    assert_close(y, BatchNorm(features)(x))


@pytest.mark.parametrize("training", [True, False])
def test_compiles_without_graph_breaks(training):
    """A compiled network stays one graph."""
    layer, x = BatchNorm(3), draw(4, 3)
    layer(x)
    expected = copy.deepcopy(layer).train(training)
    layer.train(training)(x)
    expected(x)
    compiled = torch.compile(layer, backend="eager", fullgraph=True)
    assert torch.equal(compiled(x), expected(x))
    assert all(torch.equal(a, b) for a, b in zip(layer.buffers(), expected.buffers(), strict=True))


def test_repr_shows_the_arguments():
    assert repr(BatchNorm(3)) == "BatchNorm(3, eps=1e-05, momentum=0.1)"
    assert repr(BatchNorm((3, 2), eps=0.1)) == "BatchNorm((3, 2), eps=0.1, momentum=0.1)"
