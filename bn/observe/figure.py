"""Draw the percentiles of a run, as Figure 1(b, c) does, for each observed layer."""

from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from bn.observe.percentiles import typical_unit

COLUMNS = 3
PANEL = 3.2, 2.4  # inches
DPI = 120


def percentiles_figure(activations: Path) -> np.ndarray | None:
    """Draw each layer's typical unit from `activations` (an activations.npz): its percentiles over training.

    Returns an image (height, width, 3) uint8, or None if the file does not exist or has no layers.
    """
    if not activations.exists():
        return None
    with np.load(activations) as file:
        arrays = dict(file)
    steps, percentiles = arrays.pop("steps"), arrays.pop("percentiles")
    if not arrays:
        return None
    columns = min(COLUMNS, len(arrays))
    rows = -(-len(arrays) // columns)
    with matplotlib.rc_context():
        matplotlib.rcdefaults()  # the user's own style may make it illegible
        fig = Figure(figsize=(PANEL[0] * columns, PANEL[1] * rows), dpi=DPI, layout="constrained")
        canvas = FigureCanvasAgg(fig)
        panels = fig.subplots(rows, columns, squeeze=False).flat
        for axis, (name, path) in zip(panels, arrays.items(), strict=False):
            unit = typical_unit(path)
            for which, line in zip(percentiles, path[:, :, unit].T, strict=True):
                width = 2.0 if which == 50 else 1.1
                axis.plot(steps, line, color="#0072B2", linewidth=width)
                axis.annotate(
                    f"{which:g}%", (steps[-1], line[-1]), (4, 0), textcoords="offset points", fontsize=8,
                    va="center", annotation_clip=False,
                )  # fmt: skip
            axis.set_title(f"{name}, unit {unit}", fontsize=9)
            axis.tick_params(labelsize=8)
            axis.spines[["top", "right"]].set_visible(False)
            axis.set_xlim(0, max(1, steps[-1]))
            axis.grid(color="#e4e4e4", linewidth=0.6)
        for axis in list(fig.axes)[len(arrays) :]:
            axis.set_axis_off()
        fig.supxlabel("training step", fontsize=9)
        fig.supylabel("input to the nonlinearity", fontsize=9)
        canvas.draw()
        return np.asarray(canvas.buffer_rgba())[..., :3].copy()
