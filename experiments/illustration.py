"""An illustration of batch normalization for one unit, drawn on the sigmoid that follows it.

    python scripts/make_figures.py illustration

Not a measurement: the 60 inputs of the mini-batch are the quantiles of a Gaussian with a chosen mean and
standard deviation; gamma and beta are chosen too. `bn.norm.batch_norm` maps the first panel to the others.
"""

from pathlib import Path

import numpy as np
import torch

from bn.norm import batch_norm
from experiments import style

EXAMPLES = 60  # the mini-batch of section 4.1
MEAN, STD = 3.4, 1.9
GAMMA, BETA = 1.6, -0.7
AXIS = 7.5


def draw(folder: Path, out: Path) -> None:
    """Write batch_norm (png, svg, pdf): a mini-batch before, normalized, and scaled and shifted."""
    quantiles = torch.linspace(0.5 / EXAMPLES, 1 - 0.5 / EXAMPLES, EXAMPLES)
    before = MEAN + STD * torch.special.ndtri(quantiles)[:, None]
    one, zero = torch.ones(1), torch.zeros(1)
    panels = [
        ("a mini-batch: 60 inputs to a sigmoid", before, "most lie where\nthe sigmoid is flat"),
        ("normalized:  mean 0, variance 1", batch_norm(before, one, zero), "all lie where\nit is steep"),
        (
            r"scaled by $\gamma$ and shifted by $\beta$, both learned",
            batch_norm(before, GAMMA * one, BETA * one),
            "where they lie\nis learned",
        ),
    ]
    fig, axes = style.figure(9.0, 2.6, columns=len(panels), sharey=True)
    line = np.linspace(-AXIS, AXIS, 301)
    for axis, (title, values, words) in zip(axes, panels, strict=True):
        inputs = values[:, 0].numpy().round(4)  # gives the same bytes on every processor
        axis.plot(line, sigmoid(line), color="#999999", lw=1.2, zorder=1)
        axis.plot(inputs, sigmoid(inputs), "o", ms=4, alpha=0.45, mew=0, color=style.WITH["color"], zorder=2)
        # A rug: the same inputs along the axis.
        axis.plot(inputs, np.full(EXAMPLES, -0.1), "|", ms=7, mew=0.8, color=style.WITH["color"], zorder=2)
        axis.text(-AXIS * 0.94, 0.8, words, fontsize=8, color="#555555")
        axis.set(
            xlim=(-AXIS, AXIS),
            xticks=[-5, 0, 5],
            ylim=(-0.18, 1.06),
            title=title,
            xlabel="input to the sigmoid",
        )
    axes[0].set_ylabel("output of the sigmoid")
    style.save(fig, out / "batch_norm")


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))
