"""Figure 1(b, c) for Inception, which the paper does not show: the inputs to the nonlinearities through
training, without BN, with BN, and with all of section 4.2.1.

    python scripts/reproduce.py inception_percentiles     Inception, BN-Baseline and BN-x5 of figure2

Section 3 claims that BN keeps the distributions of the inputs to nonlinearities stable while a network
trains, and Figure 1 shows it for a sigmoid on MNIST. This figure shows the 15th, 50th and 85th percentiles of
the input to the ReLU of four layers (conv2, and a 3x3 convolution of 3b, 4c and 5b): lines for one typical
unit of the first seed, and a band from the median 15th to the median 85th percentile of the layer's units.
Measured numbers, with n: results/inception_percentiles/table.md.

Deviations and assumptions: a unit is a feature map, with its values at all locations. Percentiles are over
training images, the same for all runs, in training mode (`probe.examples`). The typical unit is chosen by the
rule of Figure 1, for each run and layer: the unit whose percentile curves are nearest to the layer's median
curves. Without BN the weights set the scale of a layer, so each panel has its own axis, and movement is
relative to the layer's own spread: max - min of a unit's median over the training, divided by the mean
distance between its 15th and 85th percentiles, both averaged over the layer's units.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bn.config import flatten, to_dict
from bn.observe.percentiles import typical_unit
from bn.run.directory import RunDirectory
from experiments import collected, networks, style

SWEEPS = {"figure2": ("experiment=inception,bn_baseline,bn_x5",)}
NETWORKS = ("inception", "bn_baseline", "bn_x5")
SETTLED = 0.1  # share of the training after which the first changes have settled
DASHES = (":", "-", "--")
MOVEMENT = ("network", "seed", "layer", "from_start", "settled")


def collect(runs: Sequence[RunDirectory], folder: Path) -> None:
    """Write percentiles.csv (typical unit and layer's medians at each step), movement.csv and runs.json.

    Diverged runs are left out: their last inputs are not finite.
    """
    runs = [run for run in networks.ended(runs) if run.status["state"] == "done"]
    paths, movements = [], []
    for run in runs:
        config = flatten(to_dict(run.config))
        who = (run.config.experiment, run.config.seed)
        record = collected.observed(run)
        for layer in run.config.probe.layers:
            path, steps = record[layer], record["steps"]  # path: (T, percentiles, units)
            unit = typical_unit(path)
            for step, typical, medians in zip(steps, path[:, :, unit], np.median(path, axis=2), strict=True):
                values = (f"{value:.4g}" for value in (*typical, *medians))
                paths.append((*who, layer, networks.counted(int(step), config), unit, *values))
            settled = steps >= SETTLED * run.config.length
            movements.append((*who, layer, *(f"{movement(p):.4g}" for p in (path, path[settled]))))
    names = [f"p{p:g}" for p in runs[0].config.probe.percentiles]
    header = ("network", "seed", "layer", "step", "unit", *names, *(f"median_{name}" for name in names))
    collected.write_csv(folder / "percentiles.csv", header, paths)
    collected.write_csv(folder / "movement.csv", MOVEMENT, movements)
    collected.write_provenance(folder / "runs.json", runs)


def movement(path: np.ndarray) -> float:
    """The movement of the medians in units of the spread; `path`: (T, (low, median, high), units)."""
    low, median, high = path.transpose(1, 0, 2)
    return float((median.max(0) - median.min(0)).mean() / (high - low).mean())


def draw(folder: Path, out: Path) -> None:
    """Write inception_percentiles (png, svg, pdf) and table.md."""
    document = collected.read_json(folder / "runs.json")
    rows = collected.read_csv(folder / "percentiles.csv")
    _draw(rows, document["config"], out / "inception_percentiles")
    (out / "table.md").write_text(_table(collected.read_csv(folder / "movement.csv"), document))


def _draw(rows: Sequence[Mapping[str, str]], config: Mapping[str, Any], stem: Path) -> None:
    layers = config["probe.layers"]
    shown = [network for network in NETWORKS if any(row["network"] == network for row in rows)]
    fig, axes = style.figure(
        2.3 * len(layers), 0.9 + 1.6 * len(shown), columns=len(layers), rows=len(shown), squeeze=False
    )
    names = [name for name in rows[0] if name.startswith("p")]
    for network, line in zip(shown, axes, strict=True):
        own = [row for row in rows if row["network"] == network]
        first = min(own, key=lambda row: int(row["seed"]))["seed"]
        color = style.STYLE[network]["color"]
        for layer, axis in zip(layers, line, strict=True):
            cell = [row for row in own if (row["seed"], row["layer"]) == (first, layer)]
            steps = [int(row["step"]) for row in cell]
            low, high = ([float(row[f"median_{name}"]) for row in cell] for name in (names[0], names[-1]))
            axis.axhline(0, color="0.7", lw=0.8, zorder=0)
            axis.fill_between(steps, low, high, color=color, alpha=0.2, lw=0)
            for name, dashes in zip(names, DASHES, strict=True):
                axis.plot(steps, [float(row[name]) for row in cell], color=color, linestyle=dashes, lw=1.3)
            axis.set_xlim(0, max(int(row["step"]) for row in rows))
            axis.margins(y=0.12)
            style.thousands(axis.xaxis)
            if network != shown[-1]:
                axis.tick_params(labelbottom=False)
        line[0].set_ylabel(f"{style.LABEL[network]}:\ninput to the ReLU")
    for layer, top, bottom in zip(layers, axes[0], axes[-1], strict=True):
        top.set_title(layer_name(layer))
        bottom.set_xlabel("training step")
    for name, dashes in zip(names, DASHES, strict=True):
        axes[0, 0].plot([], [], color="0.3", linestyle=dashes, lw=1.3, label=f"{name[1:]}th percentile")
    axes[0, 0].fill_between(
        [], [], color="0.3", alpha=0.2, lw=0, label="15th to 85th percentile, medians over the layer"
    )
    fig.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    fig.suptitle(networks.setting(config), fontsize=9)
    style.save(fig, stem)


def layer_name(layer: str) -> str:
    """inception_3b.conv_3x3 -> 3b, 3x3."""
    return layer.removeprefix("inception_").replace(".conv_", ", ")


def _table(rows: Sequence[Mapping[str, str]], document: Mapping[str, Any]) -> str:
    config = document["config"]
    layers = config["probe.layers"]
    lines = [
        "| movement of the median input to a ReLU | measured from | "
        + " | ".join(map(layer_name, layers))
        + " | seeds |",
        "|---|---|" + "---|" * len(layers) + "--:|",
    ]
    for network in NETWORKS:
        own = [row for row in rows if row["network"] == network]
        seeds = len({row["seed"] for row in own})
        for column, start in (("from_start", "step 0"), ("settled", f"{SETTLED:.0%} of the training")):
            if own:
                cells = [
                    collected.mean_text([float(row[column]) for row in own if row["layer"] == layer], 2)
                    for layer in layers
                ]
                lines.append(f"| {style.LABEL[network]} | {start} | {' | '.join(cells)} | {seeds} |")
    return collected.document(
        lines,
        f"{networks.trained(config)} Movement is the maximum minus the minimum of a unit's median over the "
        "rest of the training, averaged over the layer's units. It is divided by the mean distance between "
        f"a unit's 15th and 85th percentiles, so that it has no unit. {collected.means('the seeds')}",
        collected.origin(document),
    )
