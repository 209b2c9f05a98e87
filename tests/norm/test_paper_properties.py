"""The properties of batch normalization that the paper states, each checked against its equation in float64.

The equalities hold at eps = 0. torch's kernel requires eps > 0; with TINY, sigma2 + eps rounds to sigma2.
"""

from functools import partial

import pytest
import torch
from torch import nn
from torch.autograd.functional import jacobian
from torch.testing import assert_close

from bn.norm import BatchNorm, batch_norm, population_statistics

TINY = 1e-300
exactly = partial(assert_close, rtol=1e-10, atol=1e-10)


def normal(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def bn_of_linear(w, u, gamma, beta, eps=TINY):
    return batch_norm(u @ w.T, gamma, beta, eps)


@pytest.fixture
def layer():
    """Return W, u, gamma, beta and dl/dy for a layer of 4 units, 6 inputs and 10 examples."""
    return normal(4, 6), normal(10, 6, seed=1), normal(4, seed=2), normal(4, seed=3), normal(10, 4)


@pytest.mark.parametrize("a", [0.01, 3.0, 1000.0])
def test_scale_of_the_weights_changes_neither_output_nor_input_gradient(layer, a):
    """Section 3.3: BN((aW)u) = BN(Wu), d BN((aW)u)/du = d BN(Wu)/du,
    d BN((aW)u)/d(aW) = (1/a) d BN(Wu)/dW."""
    w, u, gamma, beta, dy = layer
    results = []
    for weight in (w, a * w):
        weight, v = weight.clone().requires_grad_(), u.clone().requires_grad_()
        y = bn_of_linear(weight, v, gamma, beta)
        results.append((y.detach(), *torch.autograd.grad(y, (v, weight), dy)))
    (y, du, dw), (ya, dua, dwa) = results
    exactly(ya, y)
    exactly(dua, du)
    exactly(a * dwa, dw)
    assert du.abs().max() > 0.01
    assert dw.abs().max() > 0.01


def test_negative_scale_flips_the_sign_of_xhat(layer):
    w, u, gamma, beta, _ = layer
    y, flipped = bn_of_linear(w, u, gamma, beta), bn_of_linear(-2 * w, u, gamma, beta)
    exactly(flipped - beta, -(y - beta))


def test_scale_invariance_is_approximate_with_eps(layer):
    w, u, gamma, beta, _ = layer
    y = bn_of_linear(w, u, gamma, beta, eps=1e-5)
    error = (bn_of_linear(3 * w, u, gamma, beta, eps=1e-5) - y).abs().max()
    assert 1e-9 < error < 1e-4


def test_can_represent_the_identity():
    """Section 3: gamma = sqrt(Var[x]), beta = E[x] recovers the activations."""
    x = 3 + 2 * normal(10, 4)
    gamma, beta = x.var(0, correction=0).sqrt(), x.mean(0)
    exactly(batch_norm(x, gamma, beta, TINY), x)
    gamma = (x.var(0, correction=0) + 0.5).sqrt()
    exactly(batch_norm(x, gamma, beta, 0.5), x)


def test_bias_before_bn_has_no_effect_and_no_gradient(layer):
    """Section 3.2: the mean subtraction cancels b, and beta takes its place."""
    w, u, gamma, beta, dy = layer
    b = (100 * normal(4, seed=5)).requires_grad_()
    beta = beta.clone().requires_grad_()
    y = batch_norm(u @ w.T + b, gamma, beta, TINY)
    exactly(y.detach(), bn_of_linear(w, u, gamma, beta.detach()))
    db, dbeta = torch.autograd.grad(y, (b, beta), dy)
    assert_close(db, torch.zeros(4, dtype=torch.float64), rtol=0, atol=1e-12)
    exactly(dbeta, dy.sum(0))


def test_training_output_depends_on_the_batch_mates():
    """Section 3.4: training no longer produces deterministic values for a given example."""
    bn = BatchNorm(3).double()
    x, mates, others = normal(1, 3), normal(7, 3, seed=1), 10 + normal(7, 3, seed=2)
    y, z = bn(torch.cat([x, mates]))[0], bn(torch.cat([x, others]))[0]
    assert (y - z).abs().min() > 0.1
    (dmates,) = torch.autograd.grad(bn(torch.cat([x, mates.requires_grad_()]))[0].sum(), mates)
    assert dmates.abs().min() > 0
    bn.eval()
    assert torch.equal(bn(torch.cat([x, mates]))[0], bn(torch.cat([x, others]))[0])


def linear_share(inputs):
    """Return R^2 of the best linear fit to the sigmoid at `inputs`; 1 means its linear regime."""
    pairs = torch.stack([inputs.flatten(), inputs.flatten().sigmoid()])
    return torch.corrcoef(pairs)[0, 1].square().item()


@pytest.mark.parametrize("scale", [0.1, 1.0, 100.0])
def test_bn_without_gamma_and_beta_keeps_a_sigmoid_in_its_linear_regime(scale):
    """Section 3: why BN needs gamma and beta.

    On normalized inputs, whatever their original scale and offset, a straight line explains 98% of the
    sigmoid's variance, and the mean slope exceeds 80% of the maximum, 1/4. On raw inputs of std 100 the
    sigmoid is nearly a step; a large gamma lets BN reach that regime too.
    """
    x = scale * (normal(2000, 5) + 0.5)
    one, zero = torch.ones(5, dtype=torch.float64), torch.zeros(5, dtype=torch.float64)
    xhat = batch_norm(x, one, zero)
    slope = (xhat.sigmoid() * (1 - xhat.sigmoid())).mean()
    assert linear_share(xhat) > 0.98
    assert slope > 0.8 / 4
    assert linear_share(batch_norm(x, 100 * one, zero)) < 0.7
    if scale == 100:
        assert linear_share(x) < 0.7


def inverse_root(covariance):
    values, vectors = torch.linalg.eigh(covariance)
    return vectors @ torch.diag(values.rsqrt()) @ vectors.T


def white(n, d):
    """Return n Gaussian inputs with exactly zero mean, unit variances and no correlations."""
    x = normal(n, d)
    x = x - x.mean(0)
    return x @ inverse_root(x.T.cov())


def test_jacobian_of_a_linear_layer_between_white_signals_is_orthogonal():
    """Section 3.3: I = Cov[zhat] = J Cov[xhat] J^T = J J^T, so all singular values are 1."""
    u = white(200, 5)
    w = normal(5, 5, seed=1)
    w = inverse_root((u @ w.T).T.cov()) @ w
    exactly((u @ w.T).T.cov(), torch.eye(5, dtype=torch.float64))
    j = jacobian(lambda v: w @ v, u[0])
    exactly(j @ j.T, torch.eye(5, dtype=torch.float64))
    exactly(torch.linalg.svdvals(j), torch.ones(5, dtype=torch.float64))


def test_bn_gives_the_jacobian_unit_rows_and_orthogonality_if_outputs_are_uncorrelated():
    """BN gives outputs unit variance but keeps their correlations, so J J^T has a diagonal of 1.

    If the rows of W are orthogonal, whatever their lengths, the outputs are uncorrelated and J J^T = I.
    """
    u = white(200, 5)
    orthogonal = torch.linalg.qr(normal(5, 5, seed=1)).Q
    scales = torch.tensor([0.01, 0.1, 1.0, 10.0, 100.0], dtype=torch.float64)
    for w, is_orthogonal in [(normal(5, 5, seed=1), False), (scales[:, None] * orthogonal, True)]:
        linear = nn.Linear(5, 5, bias=False).double()
        linear.load_state_dict({"weight": w})
        network = nn.Sequential(linear, BatchNorm(5, eps=TINY).double())
        population_statistics(network, [u])
        network.eval()
        j = jacobian(lambda v, network=network: network(v[None])[0], u[0])
        product = j @ j.T
        exactly(product.diag(), torch.ones(5, dtype=torch.float64))
        off = (product - torch.eye(5, dtype=torch.float64)).abs().max().item()
        assert (off < 1e-10) if is_orthogonal else (off > 0.1)


def test_a_sub_network_learns_as_a_network_of_its_own():
    """Section 1: the step of T2 in F2(F1(u, T1), T2) equals that of F2 alone with input x = F1(u, T1)."""
    torch.manual_seed(0)
    lower = nn.Sequential(nn.Linear(6, 5), BatchNorm(5), nn.Sigmoid()).double()
    upper = nn.Sequential(nn.Linear(5, 4), BatchNorm(4), nn.Sigmoid(), nn.Linear(4, 3)).double()
    u, labels = normal(10, 6), torch.arange(10) % 3

    def gradients(output):
        return torch.autograd.grad(nn.functional.cross_entropy(output, labels), list(upper.parameters()))

    whole = gradients(upper(lower(u)))
    alone = gradients(upper(lower(u).detach()))
    for one, other in zip(alone, whole, strict=True):
        exactly(one, other)
    assert whole[0].abs().max() > 1e-4


@pytest.mark.parametrize("a", [0.1, 5.0])
def test_normalizing_an_example_by_itself_discards_its_scale(layer, a):
    """Section 2: with the statistics of one example, x and a x have the same output; with BN they differ."""
    _, u, _, _, _ = layer
    example = u[0]
    exactly(
        nn.functional.layer_norm(a * example, (6,), eps=0.0), nn.functional.layer_norm(example, (6,), eps=0.0)
    )
    scaled = torch.cat([a * u[:1], u[1:]])
    ones, zeros = torch.ones(6, dtype=u.dtype), torch.zeros(6, dtype=u.dtype)
    normalized = batch_norm(scaled, ones, zeros, TINY)[0]
    assert (normalized - batch_norm(u, ones, zeros, TINY)[0]).abs().max() > 0.1


@pytest.mark.parametrize(("m", "d"), [(2, 3), (5, 20), (60, 100)])
def test_the_joint_covariance_of_a_small_mini_batch_is_singular(m, d):
    """Section 3: with m examples, fewer than units, its rank is at most m - 1, so it has no inverse."""
    covariance = torch.cov(normal(m, d).T)
    assert torch.linalg.matrix_rank(covariance) == m - 1
    assert torch.linalg.matrix_rank(torch.cov(normal(10 * d, d).T)) == d
