"""Folding is exact to rounding and keeps each BN that cannot be folded."""

import copy
import pickle
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm
from torch.testing import assert_close

from bn.norm import BatchNorm, fold, population_statistics

exactly = partial(assert_close, rtol=1e-12, atol=1e-12)
NORMS = (BatchNorm, nn.BatchNorm1d, nn.BatchNorm2d)


def prepared(model, *shape):
    """Return `model` in float64 with gamma, beta, E[x] and Var[x] far from 1, 0, 0, 1."""
    g = torch.Generator().manual_seed(0)
    model = model.double()
    for module in model.modules():
        if isinstance(module, NORMS):
            for p in module.parameters():
                p.data = torch.randn(p.shape, generator=g, dtype=torch.float64)
    data = [2 + 3 * torch.randn(shape, generator=g, dtype=torch.float64) for _ in range(3)]
    population_statistics(model, data)
    return model, data[0]


def norms_in(model):
    return [name for name, module in model.named_modules() if isinstance(module, NORMS)]


def check(model, x, left=()):
    """Fold; compare outputs; check which BN are `left` and that the original is unchanged."""
    before = copy.deepcopy(model.state_dict())
    flags = [m.training for m in model.modules()]
    folded = fold(model)
    assert [m.training for m in model.modules()] == flags
    assert not any(m.training for m in folded.modules())
    state = model.state_dict()
    assert all(torch.equal(state[name], before[name]) for name in before)
    assert list(state) == list(before)
    ours = {t.data_ptr() for t in folded.state_dict().values()}
    assert not ours & {t.data_ptr() for t in state.values()}
    expected = copy.deepcopy(model).eval()(x)
    exactly(folded(x), expected)
    exactly(folded(x[:1]), expected[:1])
    assert norms_in(folded) == list(left)
    return folded


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("norm", [BatchNorm, nn.BatchNorm1d])
def test_mlp(norm, bias):
    layers = [nn.Linear(4, 5, bias=bias), norm(5, eps=0.01), nn.Sigmoid()]
    layers += [nn.Dropout(), nn.Linear(5, 3, bias=bias), norm(3), nn.Linear(3, 2)]
    folded = check(*prepared(nn.Sequential(*layers), 8, 4))
    assert {name: tuple(t.shape) for name, t in folded.state_dict().items()} == {
        "0.weight": (5, 4),
        "0.bias": (5,),
        "4.weight": (3, 5),
        "4.bias": (3,),
        "6.weight": (2, 3),
        "6.bias": (2,),
    }


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("norm", [BatchNorm, nn.BatchNorm2d])
@pytest.mark.parametrize("groups", [1, 2, 4])
def test_convolution(norm, groups, bias):
    """One group, grouped and depthwise."""
    first = nn.Conv2d(4, 8, 3, stride=2, padding=1, groups=groups, bias=bias)
    second = nn.Conv2d(8, 6, (1, 2), padding_mode="reflect", padding=(0, 1), bias=bias)
    model = nn.Sequential(first, norm(8), nn.ReLU(), second, norm(6, eps=0.1), nn.Flatten())
    check(*prepared(model, 5, 4, 7, 6))


def test_weights_by_the_equation():
    """W' = W gamma / sqrt(Var + eps), b' = beta + (b - E) gamma / sqrt(Var + eps)."""
    model = nn.Sequential(nn.Linear(1, 1), BatchNorm(1, eps=1.0)).double()
    values = [3.0, 5.0, 7.0, 11.0, 13.0, 15.0]
    names = ["0.weight", "0.bias", "1.weight", "1.bias", "1.running_mean", "1.running_var"]
    tensors = {
        name: torch.full_like(model.state_dict()[name], value)
        for name, value in zip(names, values, strict=True)
    }
    model.load_state_dict(tensors | {"1.num_batches_tracked": torch.tensor(1)})
    folded = fold(model).state_dict()
    assert folded["0.weight"].item() == 3 * 7 / 4
    assert folded["0.bias"].item() == 11 + (5 - 13) * 7 / 4


def test_torch_layer_without_gamma_and_beta():
    check(*prepared(nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5, affine=False)), 8, 4))


def test_computed_in_float64_and_rounded_once():
    model, x = prepared(nn.Sequential(nn.Linear(4, 5), BatchNorm(5)), 8, 4)
    single = model.float()
    folded, exact = fold(single), fold(copy.deepcopy(single).double())
    for name, tensor in folded.state_dict().items():
        assert tensor.dtype == torch.float32
        assert torch.equal(tensor, exact.state_dict()[name].float())
    assert_close(folded(x.float()), single.eval()(x.float()))


def test_the_inference_network_is_traced():
    """A functional dropout reads the training flag during tracing, so it must already be off."""

    class Dropping(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.bn = nn.Linear(4, 5), BatchNorm(5)

        def forward(self, x):
            return F.dropout(self.bn(self.first(x)), training=self.training)

    model, x = prepared(Dropping(), 8, 4)
    assert model.training
    check(model, x)


def test_nested_modules_keep_their_names_and_frozen_weights_stay_frozen():
    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(2, 2, 1, bias=False).requires_grad_(False)
            self.bn = BatchNorm(2)

        def forward(self, x):
            return self.bn(self.conv(x)).relu()

    model, x = prepared(nn.Sequential(Block(), nn.Sequential(Block())), 4, 2, 3, 3)
    folded = check(model, x)
    names = ["0.conv.weight", "0.conv.bias", "1.0.conv.weight", "1.0.conv.bias"]
    assert sorted(folded.state_dict()) == sorted(names)
    assert not any(p.requires_grad for p in folded.parameters())


class Parts(nn.Module):
    """A linear layer and a BN, combined by `how`."""

    def __init__(self, how, first=None):
        super().__init__()
        self.how = how
        self.first = first or nn.Linear(4, 4)
        self.bn = BatchNorm(4)

    def forward(self, x):
        return self.how(self, x)


class Doubled(nn.Linear):
    def forward(self, input):
        return 2 * super().forward(input)


LEFT = {
    "nonlinearity between": Parts(lambda m, x: m.bn(m.first(x).relu())),
    "bn first": Parts(lambda m, x: m.first(m.bn(x))),
    "output used elsewhere": Parts(lambda m, x: (lambda h: m.bn(h) + h)(m.first(x))),
    "layer used twice": Parts(lambda m, x: m.bn(m.first(x)) + m.first(x)),
    "weight read elsewhere": Parts(lambda m, x: m.bn(m.first(x)) + F.linear(x, m.first.weight)),
    "weight used by a function": Parts(lambda m, x: m.bn(F.linear(x, m.first.weight))),
    "another forward": Parts(lambda m, x: m.bn(m.first(x)), Doubled(4, 4)),
    "computed weight": Parts(lambda m, x: m.bn(m.first(x)), spectral_norm(nn.Linear(4, 4))),
}


@pytest.mark.parametrize("case", LEFT)
def test_bn_that_cannot_be_folded_stays(case):
    check(*prepared(copy.deepcopy(LEFT[case]), 8, 4), left=["bn"])


def test_one_foldable_bn_among_others_is_folded():
    layers = [BatchNorm(4), nn.Linear(4, 5), BatchNorm(5), nn.ReLU(), BatchNorm(5)]
    check(*prepared(nn.Sequential(*layers), 8, 4), left=["0", "4"])


def test_bn_shared_by_two_layers_is_folded_into_both():
    class Shared(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.bn = nn.Linear(4, 3), nn.Linear(4, 3), BatchNorm(3)

        def forward(self, x):
            return self.bn(self.a(x)) * self.bn(self.b(x))

    check(*prepared(Shared(), 8, 4))


def test_tied_weights_are_untied():
    model = nn.Sequential(nn.Linear(4, 4), BatchNorm(4), nn.Linear(4, 4))
    model[2].weight = model[0].weight
    check(*prepared(model, 8, 4))


@pytest.mark.parametrize("features", [(3, 4, 4), 3])
def test_per_activation_form_after_a_convolution_stays(features):
    model = nn.Sequential(nn.Conv2d(2, 3, 1), BatchNorm(features))
    check(*prepared(model, 8, 2, 4, 4), left=["1"] if isinstance(features, tuple) else [])


def test_per_activation_form_after_a_linear_layer_is_folded():
    check(*prepared(nn.Sequential(nn.Linear(4, 5), BatchNorm((5,))), 8, 4))


def test_bn_over_a_dimension_other_than_the_layers_outputs_stays():
    """nn.Linear acts on the last dimension, BatchNorm1d of (N, C, L) on the second."""
    check(*prepared(nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(3)), 8, 3, 4), left=["1"])
    check(*prepared(nn.Sequential(nn.Linear(4, 3), nn.BatchNorm2d(3)), 8, 3, 2, 4), left=["1"])


def test_result_can_be_copied_and_pickled():
    model, x = prepared(nn.Sequential(nn.Linear(4, 5), BatchNorm(5), nn.ReLU(), BatchNorm(5)), 8, 4)
    folded = fold(model)
    for twin in (copy.deepcopy(folded), pickle.loads(pickle.dumps(folded))):
        assert torch.equal(twin(x), folded(x))


def test_no_batch_normalization():
    with pytest.raises(ValueError, match="Sequential has no batch normalization layer"):
        fold(nn.Sequential(nn.Linear(4, 3)))


@pytest.mark.parametrize("norm", [BatchNorm, nn.BatchNorm1d])
def test_layer_without_statistics_is_named(norm):
    model = nn.Sequential(nn.Linear(4, 3), norm(3))
    with pytest.raises(RuntimeError, match=r"^1 has no statistics to fold") as error:
        fold(model)
    assert "\n" not in str(error.value)


def test_layer_that_keeps_no_statistics_is_named():
    model = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3, track_running_stats=False))
    with pytest.raises(ValueError, match=r"^1 keeps no statistics"):
        fold(model)
