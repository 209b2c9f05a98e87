"""Inception equals the same network written with torch's functions and TensorFlow's padding rule."""

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from bn.models import inception

MODULES = ["3a", "3b", "3c", "4a", "4b", "4c", "4d", "4e", "5a", "5b"]
CASES = {
    "batch normalization": ({}, 40),
    "the base": ({"norm": "none", "lrn": True}, 40),
    "the base, sigmoid": ({"norm": "none", "nonlinearity": "sigmoid", "lrn": True, "stem": "dense"}, 33),
    "sigmoid": ({"nonlinearity": "sigmoid", "stem": "dense", "pool_proj": 128}, 47),
    "bn baseline": ({"lrn": True}, 32),
    "one pool": ({"stem_stride": 1, "stem_pools": 1, "lrn": True}, 14),
    "no pools": ({"stem_stride": 1, "stem_pools": 0, "lrn": True}, 9),
}


def same(n):
    """Return TensorFlow's SAME padding before and after n values, for a 3x3 patch of stride 2."""
    total = max((-(-n // 2) - 1) * 2 + 3 - n, 0)
    return total // 2, total - total // 2


def max_pool(x):
    height, width = x.shape[2:]
    return F.max_pool2d(F.pad(x, (*same(width), *same(height)), value=-torch.inf), 3, 2)


def average_pool(x):
    """Average over 3x3, including the zeros around the image."""
    ones = torch.ones(x.shape[1], 1, 3, 3, dtype=x.dtype)
    return F.conv2d(x, ones / 9, padding=1, groups=x.shape[1])


def reference(state, x, norm="batch", nonlinearity="relu", lrn=False, stem_stride=2, stem_pools=2, **_):
    """Return the logits of Figure 5 with parameters `state`; BN uses the mini-batch's statistics."""

    def unit(name, x, stride=1):
        if f"{name}.conv.weight" in state:
            weight = state[f"{name}.conv.weight"]
            x = F.conv2d(x, weight, state.get(f"{name}.conv.bias"), stride, weight.shape[2] // 2)
        else:
            x = F.conv2d(x, state[f"{name}.conv.depthwise.weight"], None, stride, 3, groups=3)
            x = F.conv2d(x, state[f"{name}.conv.pointwise.weight"], state.get(f"{name}.conv.pointwise.bias"))
        if norm == "batch":
            gamma, beta = state[f"{name}.norm.weight"], state[f"{name}.norm.bias"]
            x = F.batch_norm(x, None, None, gamma, beta, training=True)
        return {"relu": torch.relu, "sigmoid": torch.sigmoid}[nonlinearity](x)

    def local_norm(x):
        alpha = 1e-4 * 58**2 if norm == "none" else 1e-4  # inputs are divided by 58
        return F.local_response_norm(x, 5, alpha=alpha, beta=0.75, k=1.0) if lrn else x

    x = unit("conv1", x, stem_stride)
    x = local_norm(max_pool(x) if stem_pools > 0 else x)
    x = local_norm(unit("conv2", unit("conv2_reduce", x)))
    x = max_pool(x) if stem_pools > 1 else x
    for name in MODULES:
        stride = 2 if name in ("3c", "4e") else 1

        def branch(layer, x, stride=1, name=name):
            return unit(f"inception_{name}.{layer}", x, stride)

        double = branch("double_3x3_1", branch("double_3x3_reduce", x))
        branches = [
            branch("conv_3x3", branch("conv_3x3_reduce", x), stride),
            branch("double_3x3_2", double, stride),
        ]
        if stride == 2:
            x = torch.cat([*branches, max_pool(x)], 1)
        else:
            pooled = F.max_pool2d(x, 3, 1, 1) if name == "5b" else average_pool(x)
            x = torch.cat([branch("conv_1x1", x), *branches, branch("pool_proj", pooled)], 1)
    return x.mean((2, 3)) @ state["classifier.weight"].T + state["classifier.bias"]


@pytest.mark.parametrize("case", CASES)
def test_logits(case):
    options, size = CASES[case]
    g = torch.Generator().manual_seed(0)
    network = inception(5, width=0.125, size=size, generator=g, **options).double()
    with torch.no_grad():
        for name, p in network.named_parameters():
            if name.endswith("bias") or ".norm." in name:
                p += 0.3 * torch.randn(p.shape, generator=g, dtype=torch.float64)
        network.classifier.weight.mul_(100)
    x = 30 * torch.randn(4, 3, size, size, generator=g, dtype=torch.float64)
    logits = network(x)
    assert logits.std() > 0.01
    assert_close(logits, reference(dict(network.named_parameters()), x, **options), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("options", [{}, {"norm": "none", "lrn": True}])
def test_local_response_normalization_only_if_configured(options):
    """LRN changes this network's logits, so the comparison above detects whether it is present."""
    g = torch.Generator().manual_seed(0)
    network = inception(5, width=0.125, size=40, generator=g, **options).double()
    x = 300 * torch.randn(4, 3, 40, 40, generator=g, dtype=torch.float64)
    state = dict(network.named_parameters())
    other = reference(state, x, norm=options.get("norm", "batch"), lrn="lrn" not in options)
    assert not torch.allclose(network(x), other, rtol=1e-3, atol=0)
