"""Figure 5: the architecture, with the paper's numbers beside those counted from the built network.

    python scripts/make_figures.py figure5

No training and no records: sizes, parameters and multiply-adds follow from the code.

The paper: the table itself (bn.models.inception.FIGURE5, as printed), 13.6 * 10^6 parameters (section 4.2),
and in the appendix 25% more parameters and 30% more computation than GoogLeNet. Counted: the printed channels
need 96 filters in the pool projections of 4c and 4d, where 128 are printed; 11.2 million parameters (65% more
than GoogLeNet's); 1,935 million multiply-adds (29% more).

Deviations: those 96 filters; 3c and 4e are printed with their sides before the stride.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from bn.models import inception
from bn.models.counts import Count, counts
from bn.models.inception import FIGURE5, MODULES, Row

# The paper's numbers for the whole network, section 4.2 and the appendix.
PARAMETERS = 13.6e6
MORE_PARAMETERS, MORE_COMPUTATION = 0.25, 0.30  # than GoogLeNet
MOST_FILTERS = 128  # in the two 3x3 that replace a 5x5
MORE_LAYERS = 9  # with weights, than GoogLeNet
# GoogLeNet (arXiv 1409.4842), sums and depth of its table 1.
GOOGLENET_PARAMETERS = 6.80e6
GOOGLENET_MULTIPLY_ADDS = 1502e6
GOOGLENET_LAYERS = 22


def draw(folder: Path, out: Path) -> None:
    """Write table.md: the rows, the variants of the network, and the paper's other statements about it."""
    (out / "table.md").write_text("\n".join([*_rows(), "", *_forms(), "", *_statements(), ""]))


def counted(**options: Any) -> list[Count]:
    """Count the rows of the network built with these options of `inception`."""
    with torch.device("meta"):  # shapes only
        return counts(inception(**options))


def _rows() -> list[str]:
    of_row = {count.name: count for count in counted()}
    header = (
        "type", "patch/stride", "output, the paper", "output, counted", "#1x1", "#3x3 reduce", "#3x3",
        "double #3x3 reduce", "double #3x3", "pool + proj", "parameters", "multiply-adds (M)",
    )  # fmt: skip
    rows = []
    for row in FIGURE5:
        count = of_row[row.name]
        projection = f"{row.pool} + {row.proj or 'pass through'}" if row.pool else ""
        if row.name in ("4c", "4d"):
            projection += " (built: 96)"
        filters = [row.conv_1x1, row.reduce, row.conv_3x3, row.double_reduce, row.double_3x3]
        rows.append((
            *_type(row),
            _size(row.side, row.channels),
            _size(count.side, count.channels) + " (after the stride)" * (count.side != row.side),
            *(str(n) if n or (row.pool and column == 0) else "" for column, n in enumerate(filters)),
            projection,
            f"{count.parameters:,}" if count.parameters else "",
            _millions(count.multiply_adds) if count.multiply_adds else "",
        ))  # fmt: skip
    classifier = of_row["classifier"]
    costs = f"{classifier.parameters:,}", _millions(classifier.multiply_adds)
    rows.append(("linear", "", "", _size(1, classifier.channels), *[""] * 6, *costs))
    total = list(of_row.values())
    costs = f"**{_parameters(total):,}**", f"**{_millions(_multiply_adds(total))}**"
    rows.append(("**all**", *[""] * 9, *costs))
    note = (
        "Parameters are those with BN: gamma and beta, no biases. Multiply-adds are those of the "
        "convolutions and the linear layer, for one image of 224x224. (*) This convolution is separable with "
        "depth multiplier 8: 7x7 for each channel, from 3 channels to 24, then 1x1 to 64."
    )
    return [*_markdown(header, rows, left=4), "", note]


def _type(row: Row) -> tuple[str, str]:
    """The first two columns."""
    if row.pool:
        return f"inception ({row.name})", "stride 2" if row.stride == 2 else ""
    kind = {"conv1": "convolution*", "conv2": "convolution", "pool": "avg pool"}.get(row.name, "max pool")
    return kind, f"{row.patch}x{row.patch}/{row.stride}"


def _forms() -> list[str]:
    rows = []
    for pool_proj in (96, 128):
        for stem in ("separable", "dense"):
            options = {"pool_proj": pool_proj, "stem": stem}
            with_bn, without = counted(**options), counted(**options, norm="none")
            rows.append((
                str(pool_proj), stem, f"{_parameters(with_bn):,}", f"{_parameters(without):,}",
                _millions(_multiply_adds(with_bn)),
            ))  # fmt: skip
    header = (
        "pool projections of 4c, 4d", "first convolution", "parameters with BN", "without BN, with biases",
        "multiply-adds (M)",
    )  # fmt: skip
    return _markdown(header, rows, left=2)


def _statements() -> list[str]:
    row = {row.name: row for row in FIGURE5}
    built, printed = counted(), counted(pool_proj=row["4c"].proj)
    channels = {count.name: count.channels for count in printed}
    size = {count.name: _size(count.side, count.channels) for count in built}
    more_parameters = _parameters(built) / GOOGLENET_PARAMETERS - 1
    more_computation = _multiply_adds(built) / GOOGLENET_MULTIPLY_ADDS - 1
    layers = 2 + 3 * len(MODULES) + 1
    rows = [
        (
            "channels of 4c, 4d and 4e with the printed pool projections, 128",
            f"{row['4c'].channels}, {row['4d'].channels}, {row['4e'].channels}",
            f"{channels['4c']}, {channels['4d']}, {channels['4e']}; with 96, as printed",
        ),
        (
            "outputs of 3c and 4e, which have stride 2",
            f"{_size(row['3c'].side, row['3c'].channels)}, {_size(row['4e'].side, row['4e'].channels)}",
            f"{size['3c']}, {size['4e']}; the paper prints the sides before the stride",
        ),
        ("parameters (section 4.2)", f"{PARAMETERS / 1e6:.1f}M", f"{_parameters(built) / 1e6:.1f}M"),
        ("parameters against GoogLeNet's 6.80M", f"+{MORE_PARAMETERS:.0%}", f"+{more_parameters:.0%}"),
        ("multiply-adds against GoogLeNet's 1,502M", f"+{MORE_COMPUTATION:.0%}", f"+{more_computation:.0%}"),
        (
            "filters in the two 3x3 that replace a 5x5 (section 4.2)",
            f"up to {MOST_FILTERS}",
            f"up to {max(r.double_3x3 for r in MODULES)}",
        ),
        (
            "depth in layers with weights: 1 per convolution of the stem, 3 per module, 1 linear",
            f"{GOOGLENET_LAYERS} of GoogLeNet + {MORE_LAYERS}",
            f"{layers}; {layers + 1} with the 1x1 reduction before the second convolution",
        ),
    ]
    return _markdown(("the whole network", "the paper", "counted"), rows, left=3)


def _parameters(rows: list[Count]) -> int:
    return sum(count.parameters for count in rows)


def _multiply_adds(rows: list[Count]) -> int:
    return sum(count.multiply_adds for count in rows)


def _size(side: int, channels: int) -> str:
    return f"{side}x{side}x{channels}"


def _millions(number: int) -> str:
    return f"{number / 1e6:,.1f}"


def _markdown(header: tuple[str, ...], rows: Iterable[tuple[str, ...]], left: int) -> list[str]:
    """A table; the columns from `left` on are aligned to the right."""
    rule = ["---" if i < left else "--:" for i in range(len(header))]
    return [f"| {' | '.join(header)} |", f"|{'|'.join(rule)}|", *(f"| {' | '.join(row)} |" for row in rows)]
