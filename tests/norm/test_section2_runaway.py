"""Section 2's warning: a gradient step that ignores the normalization lets parameters grow without bound.

A layer adds b to its input u and is normalized over the training set. `detach` makes the step ignore that
E[x] and Var[x] depend on the parameters.
"""

from functools import partial

import torch
from torch.testing import assert_close

from bn.norm import batch_norm

RATE, STEPS = 0.1, 200
exactly = partial(assert_close, rtol=1e-10, atol=1e-10)


def problem():
    g = torch.Generator().manual_seed(0)
    u = torch.randn(50, 1, generator=g, dtype=torch.float64)
    target = 0.5 * u + 1 + 0.1 * torch.randn(50, 1, generator=g, dtype=torch.float64)
    return u, target


def scalar(value):
    return torch.tensor([value], dtype=torch.float64, requires_grad=True)


def descend(normalized, parameter, target, steps=STEPS, rate=RATE):
    """Run gradient descent on the mean square; return the parameter's path and the loss before each step."""
    path, losses = [parameter.item()], []
    for _ in range(steps):
        loss = (normalized(parameter) - target).square().mean()
        (gradient,) = torch.autograd.grad(loss, parameter)
        with torch.no_grad():
            parameter -= rate * gradient
        path.append(parameter.item())
        losses.append(loss.item())
    return torch.tensor(path, dtype=torch.float64), torch.tensor(losses, dtype=torch.float64)


def fully_normalized(x):
    one, zero = torch.ones(1, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
    return batch_norm(x, one, zero, eps=1e-300)


def test_ignoring_the_mean_makes_the_bias_grow_linearly_at_a_fixed_loss():
    u, target = problem()
    b, loss = descend(lambda b: u + b - (u + b).mean().detach(), scalar(0.0), target)
    per_step = RATE * 2 * target.mean()
    exactly(b, torch.arange(STEPS + 1) * per_step)
    assert b[-1] > 30
    exactly(loss, loss[:1].expand(STEPS))


def test_with_the_true_gradient_the_bias_stays():
    u, target = problem()
    b, loss = descend(lambda b: fully_normalized(u + b), scalar(0.0), target)
    assert b.abs().max() < 1e-10
    exactly(loss, loss[:1].expand(STEPS))


def ignoring_scale(a, u):
    x = a * u
    return (x - x.mean().detach()) / x.std(correction=0).detach()


def test_ignoring_the_scale_too_makes_the_weight_grow_without_bound_at_a_fixed_loss():
    """Each step adds c / a to a; c depends on the output alone and is fixed, so a^2 grows by over 2 c."""
    u, target = problem()
    a, loss = descend(lambda a: ignoring_scale(a, u), scalar(1.0), 3 * target)
    exactly(loss, loss[:1].expand(STEPS))
    c = (a[1] - a[0]) * a[0]
    assert c > 0.05
    exactly(a[1:] - a[:-1], c / a[:-1])
    assert (a[1:] ** 2 >= a[:-1] ** 2 + 2 * c).all()
    assert a[-1] > 4


def test_ignoring_the_scale_blows_up_where_the_weight_shrinks():
    """In the other direction a falls from 1 towards 0, and its steps c / a grow from c to over sqrt(c)."""
    u, target = problem()
    a, loss = descend(lambda a: ignoring_scale(a, u), scalar(1.0), -target, 1000, rate=2e-4)
    crossing = int((a < 0).nonzero()[0])
    steps = (a[1:] - a[:-1]).abs()
    exactly(loss[:crossing], loss[:1].expand(crossing))
    assert (steps[1:crossing] > steps[: crossing - 1]).all()
    assert steps[crossing - 1] > steps[0].sqrt()
    assert steps[crossing - 1] > 30 * steps[0]


def test_with_the_true_gradient_the_weight_stays():
    u, target = problem()
    for goal in (3 * target, -target):
        a, loss = descend(lambda a: fully_normalized(a * u), scalar(1.0), goal)
        exactly(a, torch.ones_like(a))
        exactly(loss, loss[:1].expand(STEPS))
