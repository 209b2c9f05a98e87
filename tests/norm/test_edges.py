"""Use as an imported package: other ways to call a layer, other dtypes, older state dicts."""

import itertools
import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.testing import assert_close

from bn.norm import BatchNorm, population_statistics
from bn.observe.percentiles import percentiles_of_columns

SHAPES = {"vectors": (12, 3), "maps": (12, 3, 2, 4)}


class Calling(nn.Module):
    """A network that calls its BN through `call`."""

    def __init__(self, norm, call):
        super().__init__()
        self.norm = norm
        self.call = call

    def forward(self, x):
        return self.call(self.norm, x)


OUR_CALLS = {
    "positional": lambda norm, x: norm(x),
    "by keyword": lambda norm, x: norm(x=x),
    "unpacked": lambda norm, x: norm(**{"x": x}),
}
TORCH_CALLS = {"positional": lambda norm, x: norm(x), "by keyword": lambda norm, x: norm(input=x)}
CALLS = [
    *itertools.product(SHAPES, ["BatchNorm", "BatchNorm of groups", "per activation"], OUR_CALLS),
    *itertools.product(["vectors"], ["BatchNorm1d"], TORCH_CALLS),
    *itertools.product(["maps"], ["BatchNorm2d"], TORCH_CALLS),
]


def layer(name, shape):
    match name:
        case "BatchNorm":
            return BatchNorm(3)
        case "BatchNorm of groups":
            return BatchNorm(3, group=4)
        case "per activation":
            return BatchNorm(SHAPES[shape][1:])
        case _:
            return getattr(nn, name)(3)


@pytest.mark.parametrize(("shape", "name", "call"), CALLS)
def test_population_statistics_do_not_depend_on_how_the_layer_is_called(shape, name, call):
    calls = TORCH_CALLS if name.endswith("d") else OUR_CALLS
    batches = [torch.randn(SHAPES[shape], generator=torch.Generator().manual_seed(i)) for i in range(3)]
    found = []
    for way in ("positional", call):
        model = Calling(layer(name, shape), calls[way])
        population_statistics(model, batches)
        found.append(model.state_dict())
    assert_close(found[1], found[0], rtol=0, atol=0)
    assert not torch.equal(found[1]["norm.running_mean"], torch.zeros_like(found[1]["norm.running_mean"]))


@pytest.mark.parametrize("scale", [1.0, 30.0, 300.0, 700.0])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("per_activation", [False, True], ids=["per channel", "per activation"])
@pytest.mark.parametrize(
    ("dtype", "compiled"), [(torch.float16, False), (torch.bfloat16, False), (torch.float16, True)]
)
def test_moving_averages_of_groups_in_low_precision_equal_float32s(
    dtype, per_activation, shape, scale, compiled
):
    """Variances reach 490,000, above float16's maximum of 65,504; their moving average takes a tenth."""
    features = SHAPES[shape][1:] if per_activation else 3
    x = (scale * torch.randn(SHAPES[shape], generator=torch.Generator().manual_seed(0))).to(dtype)
    low, wide = BatchNorm(features, group=4).to(dtype), BatchNorm(features, group=4)
    run = torch.compile(low, backend="eager") if compiled else low
    y, expected = run(x), wide(x.float())
    assert_close(y.float(), expected, rtol=0.02, atol=0.02)
    assert y.dtype == low.running_var.dtype == dtype
    if scale < 700:
        assert low.running_var.isfinite().all()
    kept = {name: tensor.to(dtype) for name, tensor in wide.state_dict().items() if name.startswith("runn")}
    assert_close({name: low.state_dict()[name] for name in kept}, kept, rtol=0.02, atol=0.02 * scale)


NOT_NUMBERS = (None, "0.1", "", math.nan, math.inf, -math.inf, True, [0.1], (), {}, -1, 2 + 0j)
WRONG = {
    "eps": (*NOT_NUMBERS, 0, 0.0),
    "momentum": (*NOT_NUMBERS, 1.0001, 2),
    "group": (*(value for value in NOT_NUMBERS if value is not None), 0, 2.0),
    "features": (*NOT_NUMBERS, 0, 3.0, (3, 0), (3.0,), (3, None), "33", [[3]], (True,)),
}


@pytest.mark.parametrize(
    ("name", "value"),
    [(name, value) for name, values in WRONG.items() for value in values],
    ids=lambda value: str(value),
)
def test_wrong_arguments_are_named_in_one_line(name, value):
    with pytest.raises(ValueError, match=f"^{name} must be") as error:
        BatchNorm(**{"features": 3} | {name: value})
    assert "\n" not in str(error.value)
    assert repr(value) in str(error.value)


TRAINED = ("weight", "bias", "running_mean", "running_var")


@pytest.mark.parametrize("missing", [(), *itertools.combinations(("num_batches_tracked", *TRAINED), 1)])
@pytest.mark.parametrize("plain", [False, True], ids=["as saved", "a plain dict"])
@pytest.mark.parametrize("nested", [False, True], ids=["alone", "in a network"])
@pytest.mark.parametrize("torch_norm", [nn.BatchNorm1d, nn.BatchNorm2d])
def test_a_state_dict_loads_exactly_when_torch_loads_it(torch_norm, nested, plain, missing):
    def wrapped(norm):
        return nn.Sequential(nn.Identity(), norm) if nested else norm

    source = torch_norm(3)
    source(torch.randn(12, 3, *[2] * (2 if torch_norm is nn.BatchNorm2d else 0)))
    state = wrapped(source).state_dict()
    for name in missing:
        del state[f"1.{name}" if nested else name]
    state = dict(state) if plain else state  # a plain dict has no version metadata
    before = dict(state)
    theirs, norm = wrapped(torch_norm(3)), BatchNorm(3)
    ours = wrapped(norm)
    try:
        theirs.load_state_dict(state)
    except RuntimeError:
        with pytest.raises(RuntimeError, match=missing[0]):
            ours.load_state_dict(state)
        return
    ours.load_state_dict(state)
    assert state.keys() == before.keys()
    for name in TRAINED:
        assert torch.equal(norm.state_dict()[name], source.state_dict()[name])
    assert norm.num_batches_tracked >= 1
    x = torch.randn(12, 3)
    shaped = x if torch_norm is nn.BatchNorm1d else x[..., None, None]
    assert torch.equal(ours.eval()(shaped), theirs.eval()(shaped))


@pytest.mark.parametrize("seed", range(20))
def test_percentiles_of_columns_with_nan_equal_numpys(seed):
    """Any number of NaN, of either sign, at any position, or none."""
    random = np.random.default_rng(seed)
    values = random.normal(size=(random.integers(1, 40), 13)).astype(np.float32)
    share = random.choice([0, 0.01, 0.2, 1])
    values[random.random(values.shape) < share] = np.nan
    values[random.random(values.shape) < share / 2] = -np.nan
    percentiles = [*sorted(random.uniform(0, 100, 5)), 0, 50, 100]
    found = percentiles_of_columns(torch.from_numpy(values), percentiles)
    np.testing.assert_allclose(found, np.percentile(values, percentiles, axis=0), rtol=1e-4, atol=1e-6)
