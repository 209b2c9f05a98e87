"""`runs.py plot --percentiles`: Figure 1(b, c) for any runs and layers.

Each setting has a row with a panel for each layer. A panel shows the percentiles of the inputs to a typical
unit, selected for each run by `bn.observe.typical`. Lines show the first seed, bands the range over seeds.
"""

import functools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bn.compare import style
from bn.compare.rows import readable
from bn.compare.runs import Run
from bn.compare.settings import samples
from bn.errors import UserError
from bn.files import Damaged, open_regular
from bn.observe.typical import typical_unit

LONGEST_TITLE = 38  # characters
Observed = dict[str, np.ndarray]  # steps (T,), percentiles (P,), and for each layer (T, P, units)


def observed(path: Path) -> Observed:
    """Load activations.npz of the run at `path`; {} if there is none. Raises Damaged if it is invalid."""
    file = path / "activations.npz"
    try:
        with open_regular(file) as opened, np.load(opened) as arrays:
            found = dict(arrays)
    except FileNotFoundError:
        return {}
    except Exception as error:  # numpy may raise anything for an invalid file
        raise Damaged(file, "not an npz file") from error
    steps, percentiles = found.get("steps", np.empty(0)), found.get("percentiles", np.empty(0))
    for name in layers_of(found):
        if found[name].shape[:2] != (len(steps), len(percentiles)) or found[name].ndim != 3:
            raise Damaged(file, f"{name} has the shape {found[name].shape}")
    return found


def layers_of(found: Observed) -> list[str]:
    return [name for name in found if name not in ("steps", "percentiles")]


def figure_of(runs: Sequence[Run], layers: Sequence[str] | None = None) -> tuple[Figure, list[str]]:
    """The figure of these layers (default: all), and a line for each run that is left out.

    UserError if no run has percentiles, or none has one of the layers.
    """
    read, complaints = readable(runs, lambda run: observed(run.path))
    found = {run.path: arrays for run, arrays in read if layers_of(arrays)}
    if not found:
        raise UserError("--percentiles: no run here has any; accepted: runs with observe=[percentiles]")
    known = list(dict.fromkeys(layer for arrays in found.values() for layer in layers_of(arrays)))
    layers = layers or known
    for layer in layers:
        if layer not in known:
            raise UserError(f"--layer={layer}: no run here has observed it; accepted: {', '.join(known)}")
    groups, left_out = samples([run for run in runs if found.get(run.path, {}).keys() & set(layers)])
    size = 3.0 * len(layers) + 0.4, 2.7 * len(groups)
    fig, axes = style.figure(*size, len(layers), len(groups), squeeze=False, sharex=True, sharey=True)
    for row, group, look in zip(axes, groups, style.looks_of(len(groups)), strict=True):
        seeds = [found[run.path] for run in group.runs]
        for axis, layer in zip(row, layers, strict=True):
            title = f"{group.name()}: {layer} (n = {len(seeds)})"
            axis.set_title(style.wrapped(title, LONGEST_TITLE))
            style.thousands(axis.xaxis)
            if layer in seeds[0]:
                draw(axis, seeds, layer, look["color"])
    fig.supxlabel("training step", fontsize=9)
    fig.supylabel("input to the nonlinearity", fontsize=9)
    return fig, [*complaints, *left_out]


def draw(axis: Axes, seeds: Sequence[Observed], layer: str, color: str) -> None:
    """Draw the lines of the first seed, and bands over all seeds at their common steps."""
    typical = [typical_of(arrays[layer]) for arrays in seeds]  # (T, P) each
    shared = functools.reduce(np.intersect1d, [arrays["steps"] for arrays in seeds])
    together = np.stack(
        [path[np.isin(arrays["steps"], shared)] for path, arrays in zip(typical, seeds, strict=True)]
    )  # (seeds, steps, P)
    steps, percentiles = seeds[0]["steps"], seeds[0]["percentiles"]
    for i, percentile in enumerate(percentiles):
        low, high = together[:, :, i].min(0), together[:, :, i].max(0)
        axis.fill_between(shared, low, high, color=color, alpha=0.15, lw=0)
        axis.plot(
            steps, typical[0][:, i], color=color, linewidth=2.0 if percentile == 50 else 1.1,
            marker="." if len(steps) == 1 else None,
        )  # fmt: skip
        axis.annotate(
            f"{percentile:g}%", (steps[-1], typical[0][-1, i]), (4, 0), textcoords="offset points",
            va="center", color=color, annotation_clip=False,
        )  # fmt: skip


def typical_of(path: np.ndarray) -> np.ndarray:
    """The percentiles (T, P) of the typical unit of a layer (T, P, units); NaN where not finite."""
    found = path[:, :, typical(path)].astype(float)
    return np.where(np.isfinite(found), found, np.nan)


def typical(path: np.ndarray) -> int:
    """`typical_unit` of a layer (T, P, units), from the steps with finite values only."""
    finite = np.isfinite(path).all(axis=(1, 2))
    return typical_unit(path[finite]) if finite.any() else 0
