"""Algorithm 1 as a function agrees with the written-out reference and with autograd."""

from functools import partial

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from bn.norm import batch_norm, reference_backward, reference_forward

# input shape, shape of gamma: 2D, per channel over maps, per activation over maps
FORMS = [((5, 3), (3,)), ((4, 3, 2, 5), (3,)), ((4, 3, 2, 2), (3, 2, 2))]
exactly = partial(assert_close, rtol=1e-12, atol=1e-12)


def make(shape, features, seed=0):
    """Return x, whose channels differ in mean and scale, gamma, beta and dl/dy, in float64."""
    g = torch.Generator().manual_seed(seed)
    x = 3 + 2 * torch.randn(shape, generator=g, dtype=torch.float64)
    x = x * torch.rand((1, *shape[1:]), generator=g, dtype=torch.float64)
    gamma, beta = torch.randn((2, *features), generator=g, dtype=torch.float64)
    dy = torch.randn(shape, generator=g, dtype=torch.float64)
    return x, gamma, beta, dy


@pytest.mark.parametrize(("shape", "features"), FORMS)
def test_function_passes_gradcheck(shape, features):
    inputs = [t.requires_grad_() for t in make(shape, features)[:3]]
    assert torch.autograd.gradcheck(batch_norm, inputs)


@pytest.mark.parametrize(("shape", "features"), FORMS)
@pytest.mark.parametrize("eps", [1e-5, 0.1])
def test_function_equals_reference(shape, features, eps):
    x, gamma, beta, dy = make(shape, features)
    leaves = [t.clone().requires_grad_() for t in (x, gamma, beta)]
    y = batch_norm(*leaves, eps=eps)
    grads = torch.autograd.grad(y, leaves, dy)
    expected = reference_backward(dy, x, gamma, eps)
    exactly(y, reference_forward(x, gamma, beta, eps).y)
    exactly(grads, (expected.x, expected.gamma, expected.beta))


@pytest.mark.parametrize(("shape", "features"), FORMS)
def test_each_written_out_gradient_equals_autograd(shape, features):
    x, gamma, beta, dy = make(shape, features)
    dims = [0, 2, 3] if len(shape) > 2 and len(features) == 1 else [0]
    broadcast = [1 if d in dims else size for d, size in enumerate(shape)]
    for t in (x, gamma, beta):
        t.requires_grad_()
    mean = x.mean(dims, keepdim=True)
    var = (x - mean).square().mean(dims, keepdim=True)
    xhat = (x - mean) / (var + 1e-5).sqrt()
    y = gamma.view(broadcast) * xhat + beta.view(broadcast)
    nodes = (xhat, var, mean, x, gamma, beta)
    expected = [g.detach() for g in torch.autograd.grad(y, nodes, dy)]
    actual = reference_backward(dy, x.detach(), gamma.detach())
    for got, want in zip(actual, expected, strict=True):
        exactly(got, want.view_as(got))
    assert actual._fields == ("xhat", "var", "mean", "x", "gamma", "beta")


@pytest.mark.parametrize(("shape", "features"), FORMS)
def test_written_out_backward_equals_torch_module(shape, features):
    x, gamma, beta, dy = make(shape, features)
    flat = len(features) > 1
    layer = nn.BatchNorm2d(3) if len(shape) == 4 and not flat else nn.BatchNorm1d(gamma.numel())
    layer = layer.double()
    layer.load_state_dict(layer.state_dict() | {"weight": gamma.flatten(), "bias": beta.flatten()})
    u = x.clone().requires_grad_()
    y = layer(u.flatten(1) if flat else u)
    y.backward(dy.view_as(y))
    expected = reference_backward(dy, x, gamma)
    assert layer.weight.grad is not None
    assert layer.bias.grad is not None
    exactly(reference_forward(x, gamma, beta).y.view_as(y), y.detach())
    exactly(expected.x, u.grad)
    exactly(expected.gamma.flatten(), layer.weight.grad)
    exactly(expected.beta.flatten(), layer.bias.grad)


def test_biased_variance_normalizes_by_hand():
    """The values (0, 2) have mean 1 and biased variance 1, so xhat is (-1, 1) / sqrt(1 + eps)."""
    x = torch.tensor([[0.0], [2.0]], dtype=torch.float64)
    one, zero = torch.ones(1, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
    expected = torch.tensor([[-0.5], [0.5]], dtype=torch.float64)
    exactly(batch_norm(x, one, zero, eps=3.0), expected)
    forward = reference_forward(x, one, zero, eps=3.0)
    exactly(forward.y, expected)
    assert (forward.mean.item(), forward.var.item()) == (1, 1)


def test_convolution_takes_batch_and_locations_as_one_mini_batch():
    """Section 3.2: m' = m * p * q values per map, one (gamma, beta) per map."""
    x, gamma, beta, _ = make((4, 3, 2, 5), (3,))
    as_rows = x.permute(0, 2, 3, 1).reshape(-1, 3)
    rows = reference_forward(as_rows, gamma, beta)
    for y in (batch_norm(x, gamma, beta), reference_forward(x, gamma, beta).y):
        exactly(y.permute(0, 2, 3, 1).reshape(-1, 3), rows.y)
    assert rows.mean.shape == rows.var.shape == (3,)


def test_per_activation_takes_the_batch_alone():
    x, gamma, beta, _ = make((4, 3, 2, 2), (3, 2, 2))
    y = batch_norm(x, gamma, beta)
    for c in range(3):
        for i in range(2):
            one = x[:, c, i, 1:], gamma[c, i, 1:], beta[c, i, 1:]
            exactly(y[:, c, i, 1:], reference_forward(*one).y)


@pytest.mark.parametrize(("shape", "features"), FORMS)
def test_xhat_has_zero_sum_and_unit_mean_square(shape, features):
    """Section 3; with eps > 0 the mean square is sigma2 / (sigma2 + eps)."""
    x, gamma, beta, _ = make(shape, features)
    one, zero = torch.ones_like(gamma), torch.zeros_like(beta)
    dims = [0] if gamma.shape == x.shape[1:] else [0, 2, 3]
    for eps, xhat in [
        (0.0, reference_forward(x, one, zero, eps=0).xhat),
        (0.5, batch_norm(x, one, zero, eps=0.5)),
    ]:
        var = x.var(dims, correction=0)
        assert_close(xhat.sum(dims), zero, rtol=0, atol=1e-11)
        assert_close(xhat.square().mean(dims), var / (var + eps), rtol=1e-11, atol=0)


@pytest.mark.parametrize(
    ("x", "gamma", "beta", "message"),
    [
        ((1, 3), (3,), (3,), r"more than one value per channel.*\(1, 3\)"),
        ((0, 3), (3,), (3,), r"more than one value per channel.*\(0, 3\)"),
        ((1, 3, 1, 1), (3,), (3,), r"more than one value per channel.*\(1, 3, 1, 1\)"),
        ((1, 3, 4, 4), (3, 4, 4), (3, 4, 4), r"more than one value per.*\(1, 3, 4, 4\)"),
        ((4, 3), (1,), (1,), r"\(1,\) features.*\(N, 1\).*got \(4, 3\)"),
        ((4, 3), (), (), r"\(\) features.*got \(4, 3\)"),
        ((4, 3), (4,), (4,), r"\(4,\) features.*got \(4, 3\)"),
        ((4, 3, 2, 2), (2,), (2,), r"\(N, 2\) or \(N, 2, H, W\), got \(4, 3, 2, 2\)"),
        ((4, 3, 2, 2), (3, 1, 1), (3, 1, 1), r"\(N, 3, 1, 1\), got \(4, 3, 2, 2\)"),
        ((4, 3, 2), (3,), (3,), r"got \(4, 3, 2\)"),
        ((4, 3, 2, 2, 2), (3,), (3,), r"got \(4, 3, 2, 2, 2\)"),
        ((3,), (3,), (3,), r"got \(3,\)"),
        ((4,), (), (), r"got \(4,\)"),
        ((4, 3), (3,), (2,), r"gamma is \(3,\) but beta is \(2,\)"),
    ],
)
def test_wrong_shapes_give_one_clear_line(x, gamma, beta, message):
    with pytest.raises(ValueError, match=message) as error:
        batch_norm(torch.ones(x), torch.ones(gamma), torch.zeros(beta))
    assert "\n" not in str(error.value)


def test_one_example_of_several_locations_is_a_mini_batch():
    x = torch.arange(4.0).view(1, 1, 2, 2)
    y = batch_norm(x, torch.ones(1), torch.zeros(1))
    assert_close(y, (x - 1.5) / (1.25 + 1e-5) ** 0.5)


def test_results_are_new_tensors():
    """Statistics and outputs do not alias the input, which may be overwritten."""
    x, gamma, beta, _ = make((5, 3), (3,))
    forward = reference_forward(x, gamma, beta)
    y = batch_norm(x, gamma, beta)
    before = [t.clone() for t in (*forward, y)]
    for t in (x, gamma, beta):
        t.fill_(7)
    assert all(map(torch.equal, (*forward, y), before))
