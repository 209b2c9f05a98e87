"""The rate by its closed form, and what L2 touches in an Inception network."""

import pytest
import torch

from bn.config import Decay, Optim
from bn.models import inception
from bn.tasks.optim import lr_schedule, sgd

BASE = Optim(
    lr=0.0015, lr_factor=1.0, lr_batch=32, decay=Decay(factor=0.96, every=100, speed=1.0), batch=32,
    momentum=0.9, weight_decay=2e-4, weight_decay_factor=1.0,
)  # fmt: skip


def optim(**changes):
    return Optim(**{**vars(BASE), **changes})


def test_the_first_step_has_the_initial_rate_and_the_decay_is_exponential():
    rate = lr_schedule(BASE)
    assert rate(1) == 0.0015
    assert rate(101) == pytest.approx(0.0015 * 0.96, rel=1e-14)
    assert rate(1001) == pytest.approx(0.0015 * 0.96**10, rel=1e-14)
    assert rate(52) / rate(51) == pytest.approx(0.96**0.01, rel=1e-14)  # smooth, no stairs


def test_six_times_faster():
    slow, fast = lr_schedule(BASE), lr_schedule(optim(decay=Decay(0.96, 100, 6.0)))
    for n in (1, 50, 700):
        assert fast(n) == pytest.approx(slow(6 * (n - 1) + 1), rel=1e-13)


def test_a_larger_mini_batch_scales_the_rate_and_decays_with_the_examples_seen():
    small, large = lr_schedule(BASE), lr_schedule(optim(batch=256))
    for steps in (0, 10, 500):
        assert large(steps + 1) == pytest.approx(8 * small(8 * steps + 1), rel=1e-13)
    assert lr_schedule(optim(batch=256, lr_batch=None))(1) == 0.0015


def test_a_factor_of_1_is_a_constant_rate():
    rate = lr_schedule(optim(decay=Decay(1.0, 1, 1.0), lr_factor=5.0))
    assert {rate(n) for n in (1, 2, 1_000_000)} == {0.0075}


@pytest.mark.parametrize("norm", ["none", "ghost"])
def test_l2_is_on_the_weights_of_convolutions_and_the_classifier(norm):
    """Both parts of the separable stem among them; not on gamma, beta (per activation or not) and biases."""
    per_activation = ("5b",) if norm == "ghost" else ()
    model = inception(5, norm=norm, width=0.01, size=28, stem_stride=1, per_activation=per_activation)
    groups = sgd(model, 0.1, weight_decay=0.2).param_groups
    decayed = {id(p) for group in groups if group["weight_decay"] for p in group["params"]}
    for name, parameter in model.named_parameters():
        is_weight = name.endswith("weight") and ".norm." not in name
        assert (id(parameter) in decayed) == is_weight, name
    assert sum(len(group["params"]) for group in groups) == len(list(model.parameters()))
    assert torch.tensor([p.dim() for group in groups[:1] for p in group["params"]]).min() == 2
