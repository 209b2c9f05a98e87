"""The network is Figure 5's: its parameters, sizes and multiply-adds equal the paper's and torch's."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from bn.models import inception
from bn.models.counts import counts
from bn.models.inception import FIGURE5, MODULES, StridedMaxPool, output_sides
from bn.norm import BatchNorm

# Side and channels of each output as printed. The sides of 3c and 4e are those before the stride.
PRINTED = {
    "conv1": (112, 64), "pool1": (56, 64), "conv2": (56, 192), "pool2": (28, 192),
    "3a": (28, 256), "3b": (28, 320), "3c": (28, 576),
    "4a": (14, 576), "4b": (14, 576), "4c": (14, 576), "4d": (14, 576), "4e": (14, 1024),
    "5a": (7, 1024), "5b": (7, 1024), "pool": (1, 1024),
}  # fmt: skip
# Patch and stride of the rows that are no modules.
PATCHES = {"conv1": (7, 2), "pool1": (3, 2), "conv2": (3, 1), "pool2": (3, 2), "pool": (7, 1)}
# #1x1, #3x3 reduce, #3x3, double #3x3 reduce, double #3x3, pool + proj as printed ("pass through" is 0).
FILTERS = {
    "conv2": (0, 64, 192, 0, 0, "", 0),
    "3a": (64, 64, 64, 64, 96, "avg", 32),
    "3b": (64, 64, 96, 64, 96, "avg", 64),
    "3c": (0, 128, 160, 64, 96, "max", 0),
    "4a": (224, 64, 96, 96, 128, "avg", 128),
    "4b": (192, 96, 128, 96, 128, "avg", 128),
    "4c": (160, 128, 160, 128, 160, "avg", 128),
    "4d": (96, 128, 192, 160, 192, "avg", 128),
    "4e": (0, 128, 192, 192, 256, "max", 0),
    "5a": (352, 192, 320, 160, 224, "avg", 128),
    "5b": (352, 192, 320, 192, 224, "max", 128),
}
PARAMETERS = {
    (96, "separable"): (11_188_288, 11_178_336),
    (96, "dense"): (11_194_984, 11_185_032),
    (128, "separable"): (11_278_528, 11_268_512),
    (128, "dense"): (11_285_224, 11_275_208),
}


def built(**options):
    """Build the network without memory for its tensors."""
    with torch.device("meta"):
        return inception(**options)


def outputs(network, *shape):
    """Return the output shape of each layer."""
    found = {}
    for name, module in network.named_modules():
        module.register_forward_hook(lambda _m, _x, y, name=name: found.update({name: tuple(y.shape)}))
    network(torch.empty(shape, device="meta"))
    return {name.removeprefix("inception_"): shape for name, shape in found.items()}


@pytest.mark.parametrize(("pool_proj", "stem"), PARAMETERS)
@pytest.mark.parametrize("norm", ["batch", "ghost", "layer", "group", "none"])
def test_number_of_parameters(pool_proj, stem, norm):
    network = built(norm=norm, pool_proj=pool_proj, stem=stem)
    with_bn, without = PARAMETERS[pool_proj, stem]
    assert sum(p.numel() for p in network.parameters()) == (without if norm == "none" else with_bn)
    assert sum(row.parameters for row in counts(network)) == (without if norm == "none" else with_bn)


def test_the_first_convolution_is_googlenets_2712_weights():
    convolution = built().conv1.conv
    assert sum(p.numel() for p in convolution.parameters()) == 2_712
    assert {name: tuple(p.shape) for name, p in convolution.named_parameters()} == {
        "depthwise.weight": (24, 1, 7, 7),
        "pointwise.weight": (64, 24, 1, 1),
    }


def test_the_table_in_the_code_is_the_papers():
    assert {row.name: (row.side, row.channels) for row in FIGURE5} == PRINTED
    columns = {row.name: row[5:] for row in FIGURE5}
    assert columns == {name: FILTERS.get(name, (0, 0, 0, 0, 0, "", 0)) for name in PRINTED}
    strides = {name: (3, 2 if name in ("3c", "4e") else 1) for name in FILTERS}
    assert {row.name: (row.patch, row.stride) for row in FIGURE5} == {**strides, **PATCHES}


@pytest.mark.parametrize("pool_proj", [96, 128])
def test_the_built_network_has_the_tables_filters_patches_and_pools(pool_proj):
    network = built(pool_proj=pool_proj, stem="dense")
    found = {}
    for name, unit in network.units.items():
        assert isinstance(unit.conv, torch.nn.Conv2d)
        found[name] = (unit.channels, unit.conv.kernel_size[0], unit.conv.stride[0])
    wanted = {"conv1": (64, 7, 2), "conv2_reduce": (64, 1, 1), "conv2": (192, 3, 1)}
    for name, (one, reduce, three, double_reduce, double, pool, proj) in FILTERS.items():
        if not pool:
            continue
        stride = 2 if name in ("3c", "4e") else 1
        proj = pool_proj if name in ("4c", "4d") else proj
        own = {
            "conv_1x1": (one, 1, 1), "conv_3x3_reduce": (reduce, 1, 1), "conv_3x3": (three, 3, stride),
            "double_3x3_reduce": (double_reduce, 1, 1), "double_3x3_1": (double, 3, 1),
            "double_3x3_2": (double, 3, stride), "pool_proj": (proj, 1, 1),
        }  # fmt: skip
        wanted |= {f"inception_{name}.{unit}": which for unit, which in own.items() if which[0]}
    assert found == wanted
    kinds = {"avg": torch.nn.AvgPool2d, "max": torch.nn.MaxPool2d}
    for row, module in zip(MODULES, network.inception_modules, strict=True):
        pool, proj = FILTERS[row.name][5:]
        assert type(module.pool) is (kinds[pool] if proj else StridedMaxPool), row.name


def test_the_only_fully_connected_layer_is_the_one_before_the_softmax():
    network, last = built(), []
    with_weights = [m for m in network.modules() if list(m.parameters(recurse=False))]
    assert [m for m in with_weights if not isinstance(m, (torch.nn.Conv2d, BatchNorm))] == [
        network.classifier
    ]
    network.classifier.register_forward_hook(lambda _m, _x, y: last.append(y))
    assert network(torch.empty(2, 3, 224, 224, device="meta")) is last[0]


@pytest.mark.parametrize("options", [{}, {"norm": "none", "lrn": True, "dropout": 0.4}, {"stem": "dense"}])
def test_every_printed_size(options):
    """The network has the printed sizes with and without BN."""
    network = built(**options)
    found = outputs(network, 2, 3, 224, 224)
    sides = output_sides(224)
    for name, (side, channels) in PRINTED.items():
        if name == "pool":
            assert found["dropout"] == (2, channels)
            continue
        strided = name in ("3c", "4e")
        assert found[name] == (2, channels, *[side // 2 if strided else side] * 2)
        assert sides[name] == found[name][2]
        if strided:  # the stride is in the last convolution
            assert found[f"{name}.double_3x3_1"][2:] == (side, side)
    assert found["classifier"] == (2, 1000)


def test_printed_projections_contradict_the_printed_channels():
    found = outputs(built(pool_proj=128), 2, 3, 224, 224)
    assert [found[name][1] for name in ("4b", "4c", "4d", "4e", "5a")] == [576, 608, 608, 1056, 1024]


@pytest.mark.parametrize(
    ("options", "size", "sides"),
    [
        ({}, 224, (112, 56, 28, 14, 7)),
        ({}, 160, (80, 40, 20, 10, 5)),
        ({"stem_stride": 1, "stem_pools": 2}, 56, (56, 28, 14, 7, 4)),
        ({"stem_stride": 2, "stem_pools": 1}, 56, (28, 14, 14, 7, 4)),
        ({"stem_stride": 1, "stem_pools": 1}, 28, (28, 14, 14, 7, 4)),
        ({"stem_stride": 1, "stem_pools": 1}, 32, (32, 16, 16, 8, 4)),
        ({"stem_stride": 1, "stem_pools": 0}, 28, (28, 28, 28, 14, 7)),
        ({"stem_stride": 2, "stem_pools": 2}, 29, (15, 8, 4, 2, 1)),
    ],
)
def test_stems_for_small_images(options, size, sides):
    """`sides` are those after conv1, the first pool, the second, 3c and 4e."""
    network = built(width=0.25, size=size, **options)
    found = outputs(network, 4, 3, size, size)
    names = ("conv1", "pool1", "pool2", "3c", "4e")
    assert tuple(found[name][2] for name in names) == sides
    assert tuple(output_sides(size, **options)[name] for name in names) == sides
    for name, shape in found.items():
        if name in network.units:
            assert network.units[name].side == shape[2]


@pytest.mark.parametrize(("stem", "total"), [("dense", 2_018_851_840), ("separable", 1_934_857_216)])
def test_multiply_adds_equal_torchs_count(stem, total):
    """Each is two operations. The separable stem is counted as its parts but computed as the dense one."""
    network = built(stem=stem)
    with FlopCounterMode(display=False) as counter:
        network(torch.empty(1, 3, 224, 224, device="meta"))
    counted = {row.name: row.multiply_adds for row in counts(network)}
    measured = counter.get_flop_counts()
    for row in MODULES:
        assert 2 * counted[row.name] == sum(measured[f"Inception.inception_{row.name}"].values())
    assert counted["conv1"] == 112**2 * (3 * 64 * 49 if stem == "dense" else 2_712)
    assert 2 * counted["classifier"] == sum(measured["Inception.classifier"].values())
    as_computed = sum(counted.values()) - counted["conv1"] + 112**2 * 3 * 64 * 49
    assert 2 * as_computed == counter.get_total_flops()
    assert sum(counted.values()) == total


def test_counted_rows_are_the_tables():
    rows = counts(built())
    assert [row.name for row in rows] == [*PRINTED, "classifier"]
    assert [row.channels for row in rows] == [*(channels for _, channels in PRINTED.values()), 1000]
    assert [row.side for row in rows[:-1]] == list(output_sides(224).values())
    assert [row.name for row in rows if not row.parameters] == ["pool1", "pool2", "pool"]


@pytest.mark.parametrize("width", [0.125, 0.3, 0.5, 2.0])
def test_width_multiplies_every_number_of_filters(width):
    narrow, full = built(width=width), built()
    for name, unit in full.units.items():
        got = narrow.units[name].channels
        assert got % 8 == 0
        assert got >= 8
        assert abs(got - width * unit.channels) <= 4 or got == 8
    assert narrow.classifier.in_features == outputs(narrow, 2, 3, 64, 64)["5b"][1]


def test_classes():
    assert outputs(built(classes=17), 2, 3, 64, 64)["classifier"] == (2, 17)


def test_a_separable_stem_computes_less_and_keeps_more():
    """The appendix: less computation, more memory in training.

    The backward pass needs the input of each convolution: the image, and in the separable stem also the 24
    filtered maps of 112x112.
    """
    multiply_adds = {stem: counts(built(stem=stem))[0].multiply_adds for stem in ("separable", "dense")}
    assert multiply_adds["separable"] < multiply_adds["dense"] / 3
    depthwise = torch.nn.Conv2d(3, 24, 7, stride=2, padding=3, groups=3, bias=False, device="meta")
    pointwise = torch.nn.Conv2d(24, 64, 1, bias=False, device="meta")
    dense = torch.nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False, device="meta")

    def stored(*layers):
        """Count the numbers that autograd stores for the backward pass, without the weights."""
        sizes = []
        x = torch.empty(1, 3, 224, 224, device="meta", requires_grad=True)
        weights = {id(p) for layer in layers for p in layer.parameters()}
        with torch.autograd.graph.saved_tensors_hooks(
            lambda t: (sizes.append(0 if id(t) in weights else t.numel()), t)[1], lambda t: t
        ):
            for layer in layers:
                x = layer(x)
        return sum(sizes)

    assert stored(dense) == 3 * 224**2
    assert stored(depthwise, pointwise) == 3 * 224**2 + 24 * 112**2
