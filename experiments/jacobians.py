"""Singular values of the layers' Jacobians, and how much of the gradient passes through them (section 3.3).

    python scripts/reproduce.py jacobians     the networks of Figure 1 x 5 seeds
                                              (configs/sweep/inside_mlp.yaml)

The paper conjectures that BN "may lead the layer Jacobians to have singular values close to 1, which is known
to be beneficial for training": it considers the map between the normalized inputs of two consecutive layers,
and derives J J^T = I if these are Gaussian and uncorrelated and the map is linear. Backpropagation then
preserves the magnitude of gradients. Measured numbers, with n: results/jacobians/table.md.

Deviations and assumptions, decided before the runs: the Jacobian is of the map from the inputs to one layer's
sigmoid to those of the next, for the first hidden layer from the image, in training mode and with respect to
an example's own input (`bn.observe.jacobians.Jacobians`). Claim 39 compares the mean absolute natural
logarithm of the singular values, seed by seed, in three layers at initialization and at the steps 100, 1,000,
5,000, 20,000 and 50,000: 18 comparisons, of which "most" are ten. Claim 41 compares, at the same steps and on
one mini-batch, the absolute logarithm of a ratio of norms: the gradient with respect to the input of the
first hidden layer (the image) over that with respect to the input of the last. That ratio also depends on the
first layer's W, 784 wide, so the ratio from the second to the last hidden layer is shown as well.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from math import log
from pathlib import Path
from typing import Any

import numpy as np

from bn.run.directory import RunDirectory
from experiments import archived, collected, observations, style
from experiments.observations import NETWORKS, Row, by_seed

SWEEPS = {"inside_mlp": ()}
STEPS = (0, 100, 1_000, 5_000, 20_000, 50_000)
LAYERS = (1, 2, 3)
BANDS = ("jacobian_p10", "jacobian_p50", "jacobian_p90")


def collect(runs: Sequence[RunDirectory], folder: Path) -> None:
    """Write jacobians.csv (singular values and gradients by network, seed, step and layer) and runs.json."""
    entries = archived.gather(runs, folder)
    observations.write(folder / "jacobians.csv", runs, ("jacobian_log", *BANDS, "input_gradient"))
    collected.write_entries(folder / "runs.json", entries)


def read_rows(folder: Path) -> list[Row]:
    return observations.read(folder / "jacobians.csv")


def logarithms(rows: Sequence[Row], network: str, layer: int, step: int) -> list[float]:
    """The mean absolute logarithm of the singular values, by seed."""
    return by_seed(rows, "jacobian_log", network=network, layer=layer, step=step)


def decay(rows: Sequence[Row], network: str, step: int, first: int = 1) -> list[float]:
    """The absolute logarithm of the gradient norm at the input of hidden layer `first` over that of the last,
    by seed."""
    norms = [
        by_seed(rows, "input_gradient", network=network, layer=layer, step=step)
        for layer in (first, LAYERS[-1])
    ]
    return [abs(log(one / last)) for one, last in zip(*norms, strict=True)]


def draw(folder: Path, out: Path) -> None:
    """Write jacobians (png, svg, pdf) and table.md."""
    rows = read_rows(folder)
    _draw(rows, out / "jacobians")
    (out / "table.md").write_text(_table(rows, collected.read_json(folder / "runs.json")))


def _draw(rows: Sequence[Row], stem: Path) -> None:
    fig, axes = style.figure(9.0, 2.9, columns=len(LAYERS), sharey=True)
    for axis, layer in zip(axes, LAYERS, strict=True):
        axis.axhline(1, color="0.5", lw=0.8, zorder=0)
        for network in NETWORKS:
            look = style.STYLE[network]
            low, middle, high = (
                observations.path(rows, name, network=network, layer=layer) for name in BANDS
            )
            steps = [max(step, 10) for step in middle[0]]  # step 0 at the left edge of a logarithmic axis
            low, middle, high = (np.exp(np.log(values).mean(0)) for _, values in (low, middle, high))
            axis.plot(steps, middle, marker="o", ms=3, label=style.LABEL[network], **look)
            axis.fill_between(steps, low, high, color=look["color"], alpha=0.2, lw=0)
        axis.set(xscale="log", yscale="log", xlabel="training step", title=f"into hidden layer {layer}")
        axis.set_xticks([10, 100, 1_000, 5_000, 50_000], ["0", "100", "1K", "5K", "50K"])
        axis.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axis.minorticks_off()
    axes[0].set_ylabel("singular values of the Jacobian:\n10th, 50th and 90th percentile")
    axes[-1].legend(loc="best")
    style.save(fig, stem)


def _table(rows: Sequence[Row], document: Mapping[str, Any]) -> str:
    lines = [
        "| absolute logarithm of | network | " + " | ".join(f"step {step:,}" for step in STEPS) + " |",
        "|---|---|" + "---|" * len(STEPS),
    ]

    def add(name: str, measure: Callable[..., list[float]]) -> None:
        plain, with_bn = ([measure(network=network, step=step) for step in STEPS] for network in NETWORKS)
        shown = [[collected.mean_text(seeds, 2) for seeds in values] for values in (plain, with_bn)]
        shown[1] = [_marked(*three) for three in zip(shown[1], plain, with_bn, strict=True)]
        for network, cells in zip(NETWORKS, shown, strict=True):
            lines.append(f"| {name} | {style.LABEL[network]} | {' | '.join(cells)} |")

    for layer in LAYERS:
        add(f"singular values into hidden layer {layer}", partial(logarithms, rows, layer=layer))
    for first in LAYERS[:-1]:
        name = f"gradient at the input of hidden layer {first} over that of the last"
        add(name, partial(decay, rows, first=first))
    n = len(logarithms(rows, NETWORKS[0], 1, 0))
    return collected.document(
        lines,
        "The numbers are absolute natural logarithms: 0 means that the singular values are 1, or that the "
        "gradient keeps its norm.",
        (
            "**Singular values** are those of the Jacobian of the map from the inputs of one layer's "
            "sigmoid to those of the next; for the first layer, from the image. The table has the mean over "
            "all singular values of a layer, on five examples.",
            "**Gradient** means its norm, on one mini-batch.",
            "**Bold** numbers with BN are clearly smaller than without, and those in *italics* clearly "
            "larger: the 95% interval of the difference, seed by seed, excludes zero.",
        ),
        f"{collected.means(f'n = {n} seeds')} {collected.origin(document)}",
    )


def _marked(cell: str, plain: Sequence[float], with_bn: Sequence[float]) -> str:
    mean, half = collected.mean_and_interval([a - b for a, b in zip(plain, with_bn, strict=True)])
    return f"**{cell}**" if mean - half > 0 else f"*{cell}*" if mean + half < 0 else cell
