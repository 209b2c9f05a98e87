"""The network of section 4.2: Figure 5 as a table, and the Inception network built from it."""

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bn.config import InceptionModel
from bn.config.choices import NONLINEARITIES, load
from bn.config.notation import checked
from bn.data.photometric import STD
from bn.errors import UserError
from bn.models.lrn import LocalResponseNorm
from bn.models.separable import SeparableConv2d
from bn.norm.build import normalization

DEPTH_MULTIPLIER = 8  # of the separable stem: 3 -> 24 channels


class Row(NamedTuple):
    """One row of Figure 5, as printed. The patches of modules are 3x3; `proj` 0 means "pass through"."""

    name: str
    patch: int
    stride: int
    side: int
    channels: int
    conv_1x1: int = 0
    reduce: int = 0
    conv_3x3: int = 0
    double_reduce: int = 0
    double_3x3: int = 0
    pool: str = ""
    proj: int = 0


# The table contradicts itself: with the printed "+128", 4c and 4d have 608 channels, 4e 1056. The printed
# sides of 3c and 4e are those before their stride. `inception` replaces the 128 of 4c and 4d by `pool_proj`.
FIGURE5 = (
    #   type   patch/stride   output      1x1  3x3red 3x3 d3x3red d3x3  pool + proj
    Row("conv1",  7, 2,     112,   64),
    Row("pool1",  3, 2,      56,   64),
    Row("conv2",  3, 1,      56,  192,      0,   64,  192),
    Row("pool2",  3, 2,      28,  192),
    Row("3a",     3, 1,      28,  256,     64,   64,   64,   64,   96,  "avg",  32),
    Row("3b",     3, 1,      28,  320,     64,   64,   96,   64,   96,  "avg",  64),
    Row("3c",     3, 2,      28,  576,      0,  128,  160,   64,   96,  "max",   0),
    Row("4a",     3, 1,      14,  576,    224,   64,   96,   96,  128,  "avg", 128),
    Row("4b",     3, 1,      14,  576,    192,   96,  128,   96,  128,  "avg", 128),
    Row("4c",     3, 1,      14,  576,    160,  128,  160,  128,  160,  "avg", 128),
    Row("4d",     3, 1,      14,  576,     96,  128,  192,  160,  192,  "avg", 128),
    Row("4e",     3, 2,      14, 1024,      0,  128,  192,  192,  256,  "max",   0),
    Row("5a",     3, 1,       7, 1024,    352,  192,  320,  160,  224,  "avg", 128),
    Row("5b",     3, 1,       7, 1024,    352,  192,  320,  192,  224,  "max", 128),
    Row("pool",   7, 1,       1, 1024),
)  # fmt: skip
MODULES = tuple(row for row in FIGURE5 if row.pool)


def output_sides(size: int, stem_stride: int = 2, stem_pools: int = 2) -> dict[str, int]:
    """Return the side, in pixels, of each FIGURE5 row's output by name, for images of side `size`.

    A stride of s maps a side n to ceil(n / s). `stem_stride` is the stride of the first convolution. Of the
    two max pools before 3a, the first `stem_pools` are kept and the others are the identity.
    """
    strides = {row.name: row.stride for row in FIGURE5}
    strides |= {"conv1": stem_stride, **{f"pool{i}": 1 for i in (1, 2) if i > stem_pools}}
    sides = {}
    for name, stride in strides.items():
        size = 1 if name == "pool" else -(-size // stride)
        sides[name] = size
    return sides


class Unit(nn.Module):
    """z = g(BN(W u)) for a convolution W (section 3.2), or z = g(W u + b) without BN.

    Without BN `norm` is nn.Identity. `channels` and `side` describe the output; the side, in pixels, is that
    for the image size that the network was built for.
    """

    def __init__(
        self, conv: nn.Conv2d | SeparableConv2d, norm: nn.Module, nonlinearity: nn.Module, side: int
    ) -> None:
        super().__init__()
        self.conv = conv
        self.norm = norm
        self.nonlinearity = nonlinearity
        self.channels = conv.out_channels
        self.side = side

    def forward(self, u: Tensor) -> Tensor:
        return self.nonlinearity(self.norm(self.conv(u)))


def build_unit(
    network: InceptionModel, row: str, channels: int, filters: int, patch: int, stride: int, side: int
) -> Unit:
    """Build a unit of the named row, `channels` -> `filters`. `side` is that of its input."""
    bias = network.norm == "none"
    side = -(-side // stride)
    if row == "conv1" and network.stem == "separable":
        conv = SeparableConv2d(channels, filters, patch, stride, DEPTH_MULTIPLIER, bias)
    else:
        conv = nn.Conv2d(channels, filters, patch, stride, patch // 2, bias=bias)
    features = (filters, side, side) if row in network.per_activation else filters
    nonlinearity = load(NONLINEARITIES[network.nonlinearity].constructor)
    return Unit(conv, normalization(features, network), nonlinearity(), side)


class StridedMaxPool(nn.Module):
    """3x3 max pool of stride 2 that maps a side n to ceil(n / 2), as TensorFlow's SAME padding does.

    An even side is not padded and its last window extends beyond the image (ceil mode); an odd one is padded
    by 1 on both ends.
    """

    def forward(self, x: Tensor) -> Tensor:
        padding = (x.shape[2] % 2, x.shape[3] % 2)
        return F.max_pool2d(x, 3, 2, padding, ceil_mode=True)


class InceptionModule(nn.Module):
    """The branches of one row, concatenated in this order: 1x1, 3x3, two 3x3 in a row, and pool.

    (N, channels, H, W) -> (N, `self.channels`, H, W). With stride 2 (3c, 4e) the sides are halved by the last
    3x3 of each branch and by the pool, which is not projected, and there is no 1x1 branch. (D) The pools are
    3x3, and the average includes the zeros of the padding.
    """

    def __init__(self, network: InceptionModel, row: Row, channels: int, side: int) -> None:
        super().__init__()

        def unit(fan_in: int, filters: int, patch: int, stride: int = 1) -> Unit:
            return build_unit(network, row.name, fan_in, filters, patch, stride, side)

        self.conv_1x1 = unit(channels, row.conv_1x1, 1) if row.conv_1x1 else None
        self.conv_3x3_reduce = unit(channels, row.reduce, 1)
        self.conv_3x3 = unit(row.reduce, row.conv_3x3, 3, row.stride)
        self.double_3x3_reduce = unit(channels, row.double_reduce, 1)
        self.double_3x3_1 = unit(row.double_reduce, row.double_3x3, 3)
        self.double_3x3_2 = unit(row.double_3x3, row.double_3x3, 3, row.stride)
        if row.stride == 2:
            self.pool = StridedMaxPool()
        else:
            self.pool = nn.AvgPool2d(3, 1, 1) if row.pool == "avg" else nn.MaxPool2d(3, 1, 1)
        self.pool_proj = unit(channels, row.proj, 1) if row.proj else None
        self.channels = row.conv_1x1 + row.conv_3x3 + row.double_3x3 + (row.proj or channels)

    def forward(self, x: Tensor) -> Tensor:
        branches = [] if self.conv_1x1 is None else [self.conv_1x1(x)]
        branches.append(self.conv_3x3(self.conv_3x3_reduce(x)))
        branches.append(self.double_3x3_2(self.double_3x3_1(self.double_3x3_reduce(x))))
        pooled = self.pool(x)
        branches.append(pooled if self.pool_proj is None else self.pool_proj(pooled))
        return torch.cat(branches, 1)


class Inception(nn.Module):
    """The Inception network: maps images (N, 3, size, size) to logits (N, classes).

    `sides` holds the output side of each FIGURE5 row by name. Without per-activation BN the network also
    accepts images of other sizes.
    """

    def __init__(self, network: InceptionModel, classes: int, size: int) -> None:
        super().__init__()
        conv1, _, conv2, _, *modules, _ = (_scaled(row, network.pool_proj, network.width) for row in FIGURE5)
        stem_stride, stem_pools = network.stem_stride, network.stem_pools
        self.sides = sides = output_sides(size, stem_stride, stem_pools)
        self.conv1 = build_unit(network, "conv1", 3, conv1.channels, conv1.patch, stem_stride, size)
        self.pool1 = StridedMaxPool() if stem_pools >= 1 else nn.Identity()
        self.lrn1, self.lrn2 = _lrn(network), _lrn(network)
        self.conv2_reduce = build_unit(network, "conv2", conv1.channels, conv2.reduce, 1, 1, sides["pool1"])
        self.conv2 = build_unit(network, "conv2", conv2.reduce, conv2.conv_3x3, 3, 1, sides["conv2"])
        self.pool2 = StridedMaxPool() if stem_pools == 2 else nn.Identity()
        channels, side = conv2.conv_3x3, sides["pool2"]
        for row in modules:
            module = InceptionModule(network, row, channels, side)
            self.add_module(f"inception_{row.name}", module)
            channels, side = module.channels, sides[row.name]
        self.dropout = nn.Dropout(network.dropout)
        self.classifier = nn.Linear(channels, classes)

    @property
    def inception_modules(self) -> list[InceptionModule]:
        """The modules 3a to 5b, in order."""
        return [module for module in self.children() if isinstance(module, InceptionModule)]

    @property
    def units(self) -> dict[str, Unit]:
        """Each convolution with its normalization and nonlinearity, by name, in order."""
        return {name: module for name, module in self.named_modules() if isinstance(module, Unit)}

    def forward(self, x: Tensor) -> Tensor:
        x = self.lrn1(self.pool1(self.conv1(x)))
        x = self.pool2(self.lrn2(self.conv2(self.conv2_reduce(x))))
        for module in self.inception_modules:
            x = module(x)
        x = x.mean((2, 3))  # Figure 5's last row: average pool, 7x7 at 224
        return self.classifier(self.dropout(x))


PAPER = InceptionModel(
    name="inception", norm="batch", norm_group=32, nonlinearity="relu", lrn=False, dropout=0.0,
    stem="separable", stem_stride=2, stem_pools=2, pool_proj=96, width=1.0, per_activation=(), init_scale=1.0,
    bn_eps=1e-5, bn_momentum=0.1,
)  # fmt: skip


def inception(
    classes: int = 1000,
    *,
    size: int = 224,
    network: InceptionModel = PAPER,
    generator: torch.Generator | None = None,
    **changes: Any,
) -> Inception:
    """Build the network of Figure 5 for images (N, 3, size, size).

    `network` is its config, by default the paper's network with batch normalization and neither LRN nor
    dropout. `changes` replace fields of it (see `bn.config.InceptionModel`), such as norm="none":

    - `norm`: the normalization before each nonlinearity: "batch", over the mini-batch; "ghost", over groups
      of `norm_group` examples; another name in `bn.config.choices.NORMALIZATIONS`; or "none", with biases.
    - `lrn`: local response normalization where GoogLeNet has it, after the first max pool and after conv2.
      (D) Without BN its alpha is scaled to the inputs, which here, unlike in GoogLeNet, are divided by
      `bn.data.photometric.STD`. With BN activations have unit variance whatever the inputs, and alpha is
      GoogLeNet's number: LRN then is the identity to within 1e-3, so networks with BN do not need it.
    - `dropout`: the probability of dropping a feature before the classifier.
    - `stem`: the first convolution, "separable" (depth multiplier 8; (D) BN and nonlinearity after its 1x1
      only) or "dense". `stem_stride` is its stride. `stem_pools` is how many of the two max pools before 3a
      are kept, from the first one on; small images need fewer.
    - `pool_proj`: the filters of the pool projection in 4c and 4d. 96 yields the printed numbers of channels;
      the printed number of filters is 128.
    - `width`: multiplies each number of filters, rounded to the nearest multiple of 8, at least 8.
    - `per_activation`: modules, such as "5b", with one gamma and beta per activation. They require images of
      side `size`.

    (D) Convolutions have He's normal initialization times `init_scale`, the classifier a Gaussian of standard
    deviation 0.01; biases and beta start at 0, gamma at 1. The depthwise part of a separable convolution has
    standard deviation 1 / 7, since it is linear and He's factor of 2 is for ReLU; `init_scale` multiplies its
    pointwise part only. All weights are drawn from `generator` and depend on their shapes alone: a seed gives
    the same W with and without BN.

    Raises UserError for an unknown field or a value that is not accepted.
    """
    network = checked(InceptionModel, {**vars(network), **changes})
    if network.per_activation and network.norm not in ("batch", "ghost"):
        raise UserError(f"per_activation: accepted with norm={network.norm}: ()")
    model = Inception(network, classes, size)
    for unit in model.units.values():
        _initialize(unit.conv, network.init_scale, generator)
    nn.init.normal_(model.classifier.weight, std=0.01, generator=generator)
    nn.init.zeros_(model.classifier.bias)
    return model


def _lrn(network: InceptionModel) -> nn.Module:
    if not network.lrn:
        return nn.Identity()
    return LocalResponseNorm(STD if network.norm == "none" else 1.0)


def _scaled(row: Row, pool_proj: int, width: float) -> Row:
    """Return `row` with its numbers of filters multiplied by `width`, and with `pool_proj` in 4c and 4d."""

    def filters(printed: int) -> int:
        return printed and max(8, 8 * int(printed * width / 8 + 0.5))

    if row.name in ("4c", "4d"):
        row = row._replace(proj=pool_proj)
    counts = ("channels", "conv_1x1", "reduce", "conv_3x3", "double_reduce", "double_3x3", "proj")
    return row._replace(**{count: filters(getattr(row, count)) for count in counts})


def _initialize(conv: nn.Conv2d | SeparableConv2d, scale: float, generator: torch.Generator | None) -> None:
    if isinstance(conv, SeparableConv2d):
        nn.init.normal_(conv.depthwise.weight, std=1 / conv.depthwise.kernel_size[0], generator=generator)
        conv = conv.pointwise
    fan_in = conv.weight[0].numel()
    nn.init.normal_(conv.weight, std=scale * (2 / fan_in) ** 0.5, generator=generator)
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)
