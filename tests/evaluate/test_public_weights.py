"""Public BN-Inception weights against a separate implementation of that network, in float64."""

import pytest
import torch
import torch.nn.functional as F

from bn.errors import UserError
from bn.models.pretrained import from_public

# in, 1x1, 3x3 reduce, 3x3, double 3x3 reduce, double 3x3, pool projection; with 128 in 4c and 4d
WIDTHS = {
    "3a": (192, 64, 64, 64, 64, 96, 32),
    "3b": (256, 64, 64, 96, 64, 96, 64),
    "3c": (320, None, 128, 160, 64, 96, None),
    "4a": (576, 224, 64, 96, 96, 128, 128),
    "4b": (576, 192, 96, 128, 96, 128, 128),
    "4c": (576, 160, 128, 160, 128, 160, 128),
    "4d": (608, 96, 128, 192, 160, 192, 128),
    "4e": (608, None, 128, 192, 192, 256, None),
    "5a": (1056, 352, 192, 320, 160, 224, 128),
    "5b": (1024, 352, 192, 320, 192, 224, 128),
}
CLASSES = 12


def convolutions():
    """(name, filters, channels, kernel size) in the public layout."""
    yield "conv1_7x7_s2", 64, 3, 7
    yield "conv2_3x3_reduce", 64, 64, 1
    yield "conv2_3x3", 192, 64, 3
    for module, (channels, one, reduce, three, double_reduce, double, proj) in WIDTHS.items():
        for name, filters, fan_in, side in (
            ("1x1", one, channels, 1),
            ("3x3_reduce", reduce, channels, 1),
            ("3x3", three, reduce, 3),
            ("double_3x3_reduce", double_reduce, channels, 1),
            ("double_3x3_1", double, double_reduce, 3),
            ("double_3x3_2", double, double, 3),
            ("pool_proj", proj, channels, 1),
        ):
            if filters is not None:
                yield f"inception_{module}_{name}", filters, fan_in, side


@pytest.fixture(scope="module")
def weights():
    """A state dict in the public layout, with nontrivial biases and statistics."""
    draws = torch.Generator().manual_seed(0)

    def normal(*shape, std=1.0, mean=0.0):
        return mean + std * torch.randn(shape, generator=draws, dtype=torch.float64)

    def uniform(*shape):
        return 0.5 + torch.rand(shape, generator=draws, dtype=torch.float64)

    state = {}
    for name, filters, channels, side in convolutions():
        std = (2 / (channels * side**2)) ** 0.5 / (58 if channels == 3 else 1)
        state |= {
            f"{name}.weight": normal(filters, channels, side, side, std=std),
            f"{name}.bias": normal(filters, std=0.5),
            f"{name}_bn.weight": uniform(filters),
            f"{name}_bn.bias": normal(filters, std=0.3),
            f"{name}_bn.running_mean": normal(filters, std=0.5),
            f"{name}_bn.running_var": uniform(filters),
            f"{name}_bn.num_batches_tracked": torch.tensor(0),
        }
    state["last_linear.weight"] = normal(CLASSES, 1024, std=0.05)
    state["last_linear.bias"] = normal(CLASSES)
    return state


def public_network(state, bgr):
    """(N,3,S,S) BGR in 0..255 minus the mean color -> (N, classes), as in the package's code."""

    def unit(x, name, stride=1):
        weight = state[f"{name}.weight"]
        x = F.conv2d(x, weight, state[f"{name}.bias"], stride, weight.shape[-1] // 2)
        mean, var = state[f"{name}_bn.running_mean"], state[f"{name}_bn.running_var"]
        return F.relu(F.batch_norm(x, mean, var, state[f"{name}_bn.weight"], state[f"{name}_bn.bias"]))

    def halve(x):
        return F.max_pool2d(x, 3, 2, ceil_mode=True)

    x = halve(unit(bgr, "conv1_7x7_s2", 2))
    x = halve(unit(unit(x, "conv2_3x3_reduce"), "conv2_3x3"))
    for module in WIDTHS:
        name = f"inception_{module}"
        stride = 2 if module in ("3c", "4e") else 1
        three = unit(unit(x, f"{name}_3x3_reduce"), f"{name}_3x3", stride)
        double = unit(unit(x, f"{name}_double_3x3_reduce"), f"{name}_double_3x3_1")
        double = unit(double, f"{name}_double_3x3_2", stride)
        if stride == 2:
            x = torch.cat([three, double, halve(x)], 1)
            continue
        if module == "5b":
            pooled = F.max_pool2d(x, 3, 1, 1, ceil_mode=True)
        else:
            pooled = F.avg_pool2d(x, 3, 1, 1, ceil_mode=True, count_include_pad=True)
        x = torch.cat([unit(x, f"{name}_1x1"), three, double, unit(pooled, f"{name}_pool_proj")], 1)
    return F.linear(x.mean((2, 3)), state["last_linear.weight"], state["last_linear.bias"])


@pytest.fixture
def _in_float64():
    """Build networks in float64."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.usefixtures("_in_float64")
@torch.no_grad()
def test_the_converted_network_gives_the_same_outputs(weights):
    rgb = torch.randint(0, 256, (2, 3, 96, 96), generator=torch.Generator().manual_seed(1)).double()
    theirs = public_network(weights, rgb.flip(1) - torch.tensor([104.0, 117, 128]).view(3, 1, 1))
    mine = from_public(weights)((rgb - torch.tensor([128.0, 117, 104]).view(3, 1, 1)) / 58)
    assert theirs.shape == (2, CLASSES)
    assert (theirs[0] - theirs[1]).abs().min() > 1e-3  # each output depends on the image
    torch.testing.assert_close(mine, theirs, rtol=1e-9, atol=1e-9)


def test_older_files_contain_rows_instead_of_vectors(weights):
    older = {
        key: value[None] if "_bn." in key else value
        for key, value in weights.items()
        if not key.endswith("num_batches_tracked")
    }
    converted, expected = from_public(older).state_dict(), from_public(weights).state_dict()
    assert converted.keys() == expected.keys()
    assert all(torch.equal(converted[key], expected[key]) for key in converted)


def test_the_number_of_parameters(weights):
    """The package counts 11,295,240, with biases and 1000 classes."""
    counted = sum(
        value.numel() for key, value in weights.items() if "running" not in key and "num" not in key
    )
    assert counted - (1024 + 1) * CLASSES + (1024 + 1) * 1000 == 11_295_240


def test_an_unexpected_file(weights):
    with pytest.raises(UserError) as error:
        from_public({"conv1.weight": torch.zeros(64, 3, 7, 7), "bn1.weight": torch.zeros(64)})
    assert str(error.value) == (
        "not BN-Inception weights in the layout of pretrainedmodels: missing or of another shape: "
        "last_linear.weight, last_linear.bias, conv1_7x7_s2.weight, and 413 more; "
        "unexpected: conv1.weight, bn1.weight"
    )


def test_a_key_that_is_missing_and_shapes_that_differ(weights):
    changed = dict(weights)
    del changed["inception_3c_3x3.bias"]
    changed["inception_4d_1x1.weight"] = torch.zeros(96, 576, 1, 1)  # as if 4c had 96 in its projection
    changed["last_linear.weight"] = [1.0]
    with pytest.raises(UserError) as error:
        from_public(changed)
    assert str(error.value) == (
        "not BN-Inception weights in the layout of pretrainedmodels: missing or of another shape: "
        "last_linear.weight, inception_4d_1x1.weight, inception_3c_3x3.bias; unexpected: none"
    )
