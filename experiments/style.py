"""The style of the figures, and how they are saved: the same records give the same bytes each time."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure

# Okabe and Ito's colours, told apart by the colour blind; lightness and dashes tell them apart in gray print.
WITHOUT = {"color": "#D55E00", "linestyle": (0, (4, 1.5))}
WITH = {"color": "#0072B2", "linestyle": "-"}
STYLE = {
    "mnist_baseline": WITHOUT,
    "mnist_bn": WITH,
    "inception": WITHOUT,
    "bn_baseline": {"color": "#000000", "linestyle": (0, (1, 1.2))},
    "bn_x5": WITH,
    "bn_x30": {"color": "#009E73", "linestyle": (0, (6, 1.5, 1, 1.5))},
    "bn_x5_sigmoid": {"color": "#CC79A7", "linestyle": (0, (5, 1.2, 1, 1.2, 1, 1.2))},
    "inception_x5": {"color": "#E69F00", "linestyle": (0, (2, 1))},
    "inception_sigmoid": {"color": "#56B4E9", "linestyle": (0, (1, 1.8))},
}
LABEL = {
    "mnist_baseline": "without BN",
    "mnist_bn": "with BN",
    "inception": "Inception",  # these five as the legend of the paper's Figure 2
    "bn_baseline": "BN-Baseline",
    "bn_x5": "BN-x5",
    "bn_x30": "BN-x30",
    "bn_x5_sigmoid": "BN-x5-Sigmoid",
    "inception_x5": "Inception at x5",
    "inception_sigmoid": "Inception, sigmoid",
}

RC: dict[Any, Any] = {
    "font.family": "DejaVu Sans",  # comes with matplotlib
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.labelsize": 9,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.6,
    "svg.hashsalt": "bn",  # element ids that do not change
    "svg.fonttype": "path",
    "pdf.fonttype": 42,
    "figure.constrained_layout.use": True,
}


@contextmanager
def applied() -> Iterator[None]:
    """The repository's style on matplotlib's defaults: a reader's own would change the bytes."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(RC)
        yield


def figure(width: float, height: float, columns: int = 1, rows: int = 1, **kwargs: Any) -> tuple[Figure, Any]:
    """A figure of `width` x `height` inches and its axes; without pyplot, so of no window."""
    fig = Figure(figsize=(width, height))
    return fig, fig.subplots(rows, columns, **kwargs)


def save(fig: Figure, stem: Path) -> None:
    """Write PNG, SVG and PDF without dates or versions in them."""
    stem.parent.mkdir(parents=True, exist_ok=True)
    fig.savefig(stem.with_suffix(".png"), dpi=200, metadata={"Software": None})
    fig.savefig(stem.with_suffix(".svg"), metadata={"Date": None, "Creator": None})
    fig.savefig(stem.with_suffix(".pdf"), metadata={"CreationDate": None, "Producer": None, "Creator": None})


def thousands(axis) -> None:
    """10K, 20K, ... or 5M, 10M, ..., as the paper labels its steps."""

    def label(value: float, _: int) -> str:
        if value >= 1e6:
            return f"{value / 1e6:g}M"
        return f"{value / 1e3:g}K" if value >= 1e3 else f"{value:g}"

    axis.set_major_formatter(label)
