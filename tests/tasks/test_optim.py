"""The learning rate equals its closed form; weight decay applies to the weights of an Inception network."""

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


def test_the_decay_is_exponential_from_the_initial_learning_rate():
    lr = lr_schedule(BASE)
    assert lr(1) == 0.0015
    assert lr(101) == pytest.approx(0.0015 * 0.96, rel=1e-14)
    assert lr(1001) == pytest.approx(0.0015 * 0.96**10, rel=1e-14)
    assert lr(52) / lr(51) == pytest.approx(0.96**0.01, rel=1e-14)  # smooth, not in steps


def test_six_times_faster():
    slow, fast = lr_schedule(BASE), lr_schedule(optim(decay=Decay(0.96, 100, 6.0)))
    for n in (1, 50, 700):
        assert fast(n) == pytest.approx(slow(6 * (n - 1) + 1), rel=1e-13)


def test_a_larger_mini_batch_scales_the_learning_rate_and_decays_it_by_examples():
    small, large = lr_schedule(BASE), lr_schedule(optim(batch=256))
    for steps in (0, 10, 500):
        assert large(steps + 1) == pytest.approx(8 * small(8 * steps + 1), rel=1e-13)
    assert lr_schedule(optim(batch=256, lr_batch=None))(1) == 0.0015


def test_a_factor_of_1_is_a_constant_learning_rate():
    lr = lr_schedule(optim(decay=Decay(1.0, 1, 1.0), lr_factor=5.0))
    assert {lr(n) for n in (1, 2, 1_000_000)} == {0.0075}


@pytest.mark.parametrize("norm", ["none", "ghost"])
def test_weight_decay_applies_to_the_weights_of_convolutions_and_the_classifier(norm):
    """It includes both parts of the separable stem, and excludes gamma, beta (in both forms) and biases."""
    per_activation = ("5b",) if norm == "ghost" else ()
    model = inception(5, norm=norm, width=0.01, size=28, stem_stride=1, per_activation=per_activation)
    groups = sgd(model, 0.1, weight_decay=0.2).param_groups
    decayed = {id(p) for group in groups if group["weight_decay"] for p in group["params"]}
    for name, parameter in model.named_parameters():
        is_weight = name.endswith("weight") and ".norm." not in name
        assert (id(parameter) in decayed) == is_weight, name
    assert sum(len(group["params"]) for group in groups) == len(list(model.parameters()))
    assert torch.tensor([p.dim() for group in groups[:1] for p in group["params"]]).min() == 2
