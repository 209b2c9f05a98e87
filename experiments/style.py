"""How the figures look, and how they are saved: the same bytes from the same records each time."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure

# Okabe and Ito's colours, told apart by the colour blind; lightness and dashes tell them apart in gray print.
WITHOUT = {"color": "#D55E00", "linestyle": (0, (4, 1.5))}
WITH = {"color": "#0072B2", "linestyle": "-"}
STYLE = {"mnist_baseline": WITHOUT, "mnist_bn": WITH}
LABEL = {"mnist_baseline": "without BN", "mnist_bn": "with BN"}

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
    """10K, 20K, ... as the paper labels its steps."""
    axis.set_major_formatter(lambda value, _: f"{value / 1000:g}K" if value else "0")
