"""Jacobians of the layers equal their equations."""

import math

import pytest
import torch
from torch import nn

from bn.observe.jacobians import EXAMPLES, Jacobians, own_jacobian


def by_hand(layer, z, slope, i):
    """Compute the Jacobian of norm(W g(x)) for example i, from z = g(x) and `slope` = g'(x)."""
    weight = layer.linear.weight.detach().double()
    if isinstance(layer.norm, nn.Identity):
        return weight * slope[i]
    u = z @ weight.T
    std = (u.var(0, correction=0) + 1e-5).sqrt()
    xhat = (u - u.mean(0)) / std
    own = (1 - 1 / len(u) - xhat[i] ** 2 / len(u)) * layer.norm.weight.detach().double() / std
    return own[:, None] * weight * slope[i]


@pytest.mark.parametrize("norm", ["batch", "none"])
def test_singular_values_follow_from_the_equations(subject_of, norm):
    subject = subject_of(norm=norm)
    for layer in subject.layers.values():
        if norm == "batch":
            layer.norm.weight.data *= 1.5
    found = Jacobians(subject).observe(0)
    z = subject.batches[0][0].double()
    slope = torch.ones_like(z)
    for name, layer in subject.layers.items():
        jacobians = [by_hand(layer, z, slope, i) for i in range(EXAMPLES)]
        values = torch.cat([torch.linalg.svdvals(j) for j in jacobians])
        expected = values.log().abs().mean().item()
        assert found[f"observe/jacobian_log/{name}"] == pytest.approx(expected, rel=1e-4)
        assert found[f"observe/jacobian_p50/{name}"] == pytest.approx(values.quantile(0.5).item(), rel=1e-4)
        with torch.no_grad():
            x = layer.norm(layer.linear(z.float())).double()
        z, slope = x.sigmoid(), x.sigmoid() * (1 - x.sigmoid())


def test_the_jacobian_is_of_the_examples_own_input():
    """For x_i -> 3 x_i + mean of all x it is 3, plus the example's share of the mean."""

    class Mixed(nn.Module):
        def forward(self, x):
            return 3 * x + x.mean(0)

    found = own_jacobian(Mixed(), torch.randn(4, 5), 2)
    torch.testing.assert_close(found, (3 + 1 / 4) * torch.eye(5))


def test_orthogonal_layers_have_log_zero(subject_of):
    subject = subject_of(norm="none")
    nn.init.orthogonal_(subject.layers["layer1"].linear.weight)
    found = Jacobians(subject).observe(0)
    assert found["observe/jacobian_log/layer1"] == pytest.approx(0, abs=1e-5)
    assert found["observe/jacobian_p10/layer1"] == pytest.approx(1, rel=1e-5)


def test_a_singular_jacobian_gives_finite_numbers(subject_of):
    subject = subject_of(norm="none")
    subject.layers["layer1"].linear.weight.data.zero_()
    found = Jacobians(subject).observe(0)
    assert all(map(math.isfinite, found.values()))
