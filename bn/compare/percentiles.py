"""`runs.py plot --percentiles`: Figure 1(b, c) of any run and layer.

A panel shows the percentiles of the inputs to one typical unit of a layer, chosen for each run by the rule of
`bn.observe.typical`: the lines are the first seed's, the bands the range of the seeds' typical units.
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
from bn.compare.settings import one_of_each_seed, settings, without_config
from bn.errors import UserError
from bn.files import Damaged
from bn.observe.typical import typical_unit

ACROSS, MOST = 4, 24  # panels in a row, and in all
LONGEST_TITLE = 38  # characters, that fit above a panel
Observed = dict[str, np.ndarray]  # steps (T,), percentiles (P,), of each layer (T, P, units)


def observed(path: Path) -> Observed:
    """activations.npz of the run at `path`; empty before it is written. Damaged where it is."""
    file = path / "activations.npz"
    try:
        with np.load(file) as arrays:
            found = dict(arrays)
    except FileNotFoundError:
        return {}
    except Exception as error:  # numpy raises whatever the reading of a file of another kind stumbles over
        raise Damaged(file, "not an npz file") from error
    steps, percentiles = found.get("steps", np.empty(0)), found.get("percentiles", np.empty(0))
    for name in layers_of(found):
        if found[name].shape[:2] != (len(steps), len(percentiles)) or found[name].ndim != 3:
            raise Damaged(file, f"{name} has the shape {found[name].shape}")
    return found


def layers_of(found: Observed) -> list[str]:
    return [name for name in found if name not in ("steps", "percentiles")]


def figure_of(runs: Sequence[Run], layers: Sequence[str] | None, log: str) -> tuple[Figure, list[str]]:
    """A panel for each setting and layer (without `layers` the last); and a line for each run left out."""
    read, complaints = readable(runs, lambda run: observed(run.path))
    found = {run.path: arrays for run, arrays in read if layers_of(arrays)}
    if not found:
        raise UserError("--percentiles: no run here has any; accepted: runs with observe=[percentiles]")
    groups, copies = one_of_each_seed(settings([run for run in runs if run.path in found]))
    panels = []
    for group, look in zip(groups, style.looks_of(len(groups)), strict=True):
        known = layers_of(found[group.runs[0].path])
        for layer in layers or known[-1:]:
            if layer not in known:
                accepted = ", ".join(known)
                raise UserError(f"--layer={layer}: not observed in {group.name()}; accepted: {accepted}")
            panels.append((group, layer, look["color"]))
    if len(panels) > MOST:
        raise UserError(f"--percentiles: {len(panels)} panels; accepted: at most {MOST}, chosen by KEY=VALUE")
    across = min(ACROSS, len(panels)) if not layers or len(layers) == 1 else len(layers)
    down = -(-len(panels) // across)
    fig, axes = style.figure(3.0 * across + 0.4, 2.7 * down, across, down, squeeze=False, sharey=True)
    alone = len({group.experiment for group in groups}) == 1
    for axis, (group, layer, color) in zip(axes.flat, panels, strict=False):
        draw(axis, [found[run.path] for run in group.runs], layer, color)
        title = f"{group.name(alone)}: {layer} (n = {len(group.runs)})"
        axis.set_title(style.wrapped(title, LONGEST_TITLE))
        dress(axis, log)
    for axis in axes.flat[len(panels) :]:
        axis.set_axis_off()
    for axis in axes[:, 0]:
        axis.set_ylabel("input to the nonlinearity")
    for axis in axes.flat[max(0, len(panels) - across) : len(panels)]:  # below which there is none
        axis.set_xlabel("training step")
    return fig, [*complaints, *copies, *without_config(runs)]


def draw(axis: Axes, seeds: Sequence[Observed], layer: str, color: str) -> None:
    """Lines of the first seed, and the range of all at the steps that all have."""
    typical = [typical_path(arrays[layer]) for arrays in seeds]  # (T, P) each
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
            ordinal(percentile), (steps[-1], typical[0][-1, i]), (4, 0), textcoords="offset points",
            va="center", color=color, annotation_clip=False,
        )  # fmt: skip


def typical_path(path: np.ndarray) -> np.ndarray:
    """(T, P) of the typical unit of a layer (T, P, units); NaN where it had left the finite numbers."""
    found = path[:, :, typical(path)].astype(float)
    return np.where(np.isfinite(found), found, np.nan)


def typical(path: np.ndarray) -> int:
    """`typical_unit` of a layer (T, P, units), as long as the network had finite numbers."""
    finite = np.isfinite(path).all(axis=(1, 2))
    return typical_unit(path[finite]) if finite.any() else 0


def dress(axis: Axes, log: str) -> None:
    if "x" in log:
        axis.set_xscale("symlog", linthresh=100)  # the first is observed before the first step
    if "y" in log:
        axis.set_yscale("symlog")
    style.thousands(axis.xaxis)


def ordinal(percentile: float) -> str:
    """15th, 1st, 99.5th."""
    whole = int(percentile)
    ends = {1: "st", 2: "nd", 3: "rd"} if percentile == whole and whole % 100 not in (11, 12, 13) else {}
    return f"{percentile:g}{ends.get(whole % 10, 'th')}"
