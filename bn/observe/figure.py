"""The percentiles of a run as an image for its loggers: Figure 1(b, c) for each layer that was observed."""

from pathlib import Path

import matplotlib.style
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from bn.observe.typical import typical_unit

COLUMNS = 3
PANEL = 3.2, 2.4  # inches


def percentiles_figure(activations: Path) -> np.ndarray | None:
    """(height, width, 3) uint8: over training, the percentiles of the typical unit of each layer.

    `activations`: an activations.npz. None where there is no such file, or no layer in it.
    """
    if not activations.exists():
        return None
    with np.load(activations) as found:
        arrays = dict(found)
    steps, percentiles = arrays.pop("steps"), arrays.pop("percentiles")
    if not arrays:
        return None
    columns = min(COLUMNS, len(arrays))
    rows = -(-len(arrays) // columns)
    with matplotlib.style.context("default"):  # a reader's own style may make it illegible
        fig = Figure((PANEL[0] * columns, PANEL[1] * rows), dpi=120, layout="constrained")
        canvas = FigureCanvasAgg(fig)
        for i, (name, path) in enumerate(arrays.items(), start=1):
            axis = fig.add_subplot(rows, columns, i)
            unit = typical_unit(path)
            axis.plot(steps, path[:, :, unit], color="#0072B2")
            for which, last in zip(percentiles, path[-1, :, unit], strict=True):
                axis.annotate(
                    f"{which:g}%", (steps[-1], last), (4, 0), textcoords="offset points", va="center"
                )
            axis.set_title(f"{name}, unit {unit}", fontsize="medium")
            axis.margins(x=0)
            axis.spines[["top", "right"]].set_visible(False)
            axis.grid(alpha=0.3)
        fig.supxlabel("training step")
        fig.supylabel("input to the nonlinearity")
        canvas.draw()
        return np.asarray(canvas.buffer_rgba())[..., :3].copy()
