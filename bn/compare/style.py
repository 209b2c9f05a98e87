"""The style of all figures, and reproducible saving: equal records give equal bytes."""

import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatterSciNotation

from bn.files import atomic_file

# Okabe and Ito's colors, for color-blind readers; dashes and lightness distinguish them in grayscale.
LOOKS: tuple[dict[str, Any], ...] = (
    {"color": "#D55E00", "linestyle": (0, (4, 1.5))},
    {"color": "#0072B2", "linestyle": "-"},
    {"color": "#000000", "linestyle": (0, (1, 1.2))},
    {"color": "#009E73", "linestyle": (0, (6, 1.5, 1, 1.5))},
    {"color": "#CC79A7", "linestyle": (0, (5, 1.2, 1, 1.2, 1, 1.2))},
    {"color": "#E69F00", "linestyle": (0, (2, 1))},
    {"color": "#56B4E9", "linestyle": (0, (1, 1.8))},
)

RC: dict[Any, Any] = {
    "font.family": "DejaVu Sans",  # included in matplotlib
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
    "svg.hashsalt": "bn",  # constant element ids
    "svg.fonttype": "path",
    "pdf.fonttype": 42,
    "figure.constrained_layout.use": True,
}


def looks_of(number: int) -> list[dict[str, Any]]:
    """Colors and dashes of `number` settings; a sequence of viridis colors if LOOKS has too few."""
    if number <= len(LOOKS):
        return list(LOOKS[:number])
    colors = matplotlib.colormaps["viridis"]
    return [{"color": colors(0.92 * i / (number - 1)), "linestyle": "-"} for i in range(number)]


@contextmanager
def applied() -> Iterator[None]:
    """Apply the repository's style to matplotlib's defaults, ignoring the user's own settings."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(RC)
        yield


def figure(width: float, height: float, columns: int = 1, rows: int = 1, **kwargs: Any) -> tuple[Figure, Any]:
    """A figure of `width` x `height` inches and its axes, without pyplot."""
    fig = Figure(figsize=(width, height))
    return fig, fig.subplots(rows, columns, **kwargs)


FORMATS = {  # without dates and versions
    ".png": {"dpi": 200, "metadata": {"Software": None}},
    ".svg": {"metadata": {"Date": None, "Creator": None}},
    ".pdf": {"metadata": {"CreationDate": None, "Producer": None, "Creator": None}},
}


def save(fig: Figure, stem: Path) -> None:
    """Write PNG, SVG and PDF."""
    stem.parent.mkdir(parents=True, exist_ok=True)
    for suffix in FORMATS:
        write(fig, stem.with_suffix(suffix))


def write(fig: Figure, path: Path) -> None:
    """Write one file atomically, in the format of its suffix."""
    with atomic_file(path) as file:
        fig.savefig(file, format=path.suffix[1:], **FORMATS[path.suffix])


def wrapped(label: str, width: int) -> str:
    """Wrap a label to `width` characters without breaking its "(n = 3)"."""
    unbroken = label.replace(" = ", "\u00a0=\u00a0")
    return textwrap.fill(unbroken, width, subsequent_indent="  ").replace("\u00a0", " ")


class Plain(LogFormatterSciNotation):
    """Labels of a logarithmic axis such as 0.96 instead of 9.6 x 10^-1."""

    def __call__(self, x: float, pos: int | None = None) -> str:
        return f"{x:g}" if super().__call__(x, pos) else ""


def thousands(axis) -> None:
    """Label an axis 10K, 20K, ... or 5M, 10M, ..., as the paper labels its steps."""

    def label(value: float, _: int) -> str:
        if value >= 1e6:
            return f"{value / 1e6:g}M"
        return f"{value / 1e3:g}K" if value >= 1e3 else f"{value:g}"

    axis.set_major_formatter(label)
