"""population_statistics changes only the statistics, and nothing when it fails."""

import copy

import pytest
import torch
from torch import nn

from bn.norm import BatchNorm, population_statistics


class Network(nn.Module):
    """A briefly trained network with our BN, torch's BN, dropout and a part frozen in evaluation mode."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Sequential(nn.Linear(4, 5), BatchNorm(5), nn.Dropout(0.5))
        self.second = nn.Sequential(nn.Linear(5, 3), nn.BatchNorm1d(3))
        for _ in range(3):
            self(torch.randn(8, 4)).square().sum().backward()
        self.second.eval()
        self.first[2].eval()
        self.second[1].train()

    def forward(self, x):
        return self.second(self.first(x))


def batches(n=3):
    g = torch.Generator().manual_seed(1)
    return [torch.randn(8, 4, generator=g) for _ in range(n)]


def everything(model):
    """Return all state that must not change, as bytes, so that == compares bit for bit (NaN too)."""

    def bits(tensor):
        return None if tensor is None else tensor.detach().cpu().numpy().tobytes()

    return {
        "state": {name: bits(t) for name, t in model.state_dict().items()},
        "gradients": {name: bits(p.grad) for name, p in model.named_parameters()},
        "requires grad": {name: p.requires_grad for name, p in model.named_parameters()},
        "training": {name: m.training for name, m in model.named_modules()},
        "hooks": {name: len(m._forward_pre_hooks) for name, m in model.named_modules()},
        "random": bits(torch.get_rng_state()),
        "gradients on": torch.is_grad_enabled(),
    }


def failing_after(n):
    """Yield `n` batches, drawing random numbers, then fail, as a data loader may."""
    for batch in batches(n):
        torch.rand(3)
        yield batch
    raise OSError("disk on fire")


def with_nan(batch):
    batch = batch.clone()
    batch[2, 1] = float("nan")
    return batch


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        (lambda: failing_after(2), OSError, "disk on fire"),
        (lambda: failing_after(0), OSError, "disk on fire"),
        (lambda: [*batches(), with_nan(batches()[0])], ValueError, r"first\.1 are not finite"),
        (lambda: [batches()[0] * 1e30], ValueError, r"first\.1 are not finite"),
        (list, ValueError, "batches is empty"),
        (
            lambda: [*batches(), batches()[0][:1]],
            ValueError,
            r"first\.1: .*more than one.*\(1, 5\)",
        ),
        (lambda: [*batches(), torch.ones(8, 7)], RuntimeError, "shapes cannot be multiplied"),
    ],
    ids=["midway", "at once", "nan", "overflow", "no data", "last batch of one", "wrong shape"],
)
def test_failure_leaves_everything_bit_for_bit(data, error, message):
    model = Network()
    before = everything(model)
    with pytest.raises(error, match=message) as caught:
        population_statistics(model, data())
    assert everything(model) == before
    assert "\n" not in str(caught.value)


def test_failure_before_any_training_still_refuses_evaluation():
    model = BatchNorm(4)
    with pytest.raises(OSError, match="disk on fire"):
        population_statistics(model, failing_after(2))
    with pytest.raises(RuntimeError, match="population_statistics"):
        model.eval()(batches()[0])


@pytest.mark.parametrize("gradients", [True, False])
def test_success_changes_only_the_statistics(gradients):
    model = Network()

    def shuffled():
        for index in torch.randperm(3):
            assert torch.is_grad_enabled() is gradients
            yield batches()[index]

    with torch.set_grad_enabled(gradients):
        before = everything(model)
        population_statistics(model, shuffled())
        after = everything(model)
    changed = {name for name, b in after["state"].items() if b != before["state"][name]}
    assert changed == {
        f"{layer}.running_{kind}" for layer in ("first.1", "second.1") for kind in ("mean", "var")
    }
    assert {**after, "state": None} == {**before, "state": None}


@pytest.mark.parametrize("training", [True, False])
def test_frozen_layers_take_part_and_stay_frozen(training):
    """Many networks override train(), so the flags are set directly."""

    class Frozen(BatchNorm):
        def train(self, mode=True):
            return super().train(False)

    frozen = Frozen(4)
    model = nn.Sequential(frozen, nn.Linear(4, 2)).train(training)
    before = everything(model)["training"]
    population_statistics(model, batches())
    assert everything(model)["training"] == before
    assert not frozen.training
    assert frozen.running_mean.any()


def test_no_batch_normalization():
    model = nn.Sequential(nn.Linear(4, 3), nn.GroupNorm(1, 3), nn.InstanceNorm1d(3))
    before = everything(model)
    with pytest.raises(ValueError, match="Sequential has no batch normalization layer"):
        population_statistics(model, batches())
    assert everything(model) == before


def test_layer_without_statistics_is_named():
    model = nn.Sequential(BatchNorm(4), nn.BatchNorm1d(4, track_running_stats=False))
    before = everything(model)
    with pytest.raises(ValueError, match="1 keeps no statistics"):
        population_statistics(model, batches())
    assert everything(model) == before


def test_layer_that_is_not_reached_is_named():
    class Detour(nn.Sequential):
        def forward(self, input):
            return self[0](input)

    model = Detour(BatchNorm(4), BatchNorm(4))
    before = everything(model)
    with pytest.raises(ValueError, match=r"^1 was not reached"):
        population_statistics(model, batches())
    assert everything(model) == before


def test_layers_do_not_share_their_statistics():
    """Each layer's statistics have memory of their own."""
    first, second = BatchNorm(4), BatchNorm(4)
    population_statistics(nn.Sequential(first, second), batches())
    kept = copy.deepcopy(first.state_dict())
    second(batches()[0])
    assert all(torch.equal(first.state_dict()[name], kept[name]) for name in kept)
