"""Saturation (section 1): the share of each layer's sigmoids that pass almost no gradient.

    python scripts/reproduce.py saturation     the networks of Figure 1 x 5 seeds
                                               (configs/sweep/inside_mlp.yaml)

The paper: changes of the parameters move many dimensions of x "into the saturated regime of the nonlinearity
and slow down the convergence. This effect is amplified as the network depth increases"; BN keeps the inputs
out of it. Measured numbers, with n: results/saturation/table.md.

Deviations and assumptions, decided before the runs: an example saturates a unit if the derivative of the
sigmoid is below a tenth of its maximum of 1/4: an output below 0.026 or above 0.974. The share is over all
units and 10,020 training examples, in training mode. The mean share over training is the mean over steps 0,
10,000, ..., 50,000. Claim 38 compares it in the last hidden layer, seed by seed.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bn.run.directory import RunDirectory
from experiments import archived, collected, observations, style
from experiments.observations import NETWORKS, Row, by_seed

SWEEPS = {"inside_mlp": ()}
LAYERS = (1, 2, 3)
EVENLY = tuple(range(0, 50_001, 10_000))  # the steps of the mean over training
LOOK = {1: (0, (1, 1.2)), 2: (0, (4, 1.5)), 3: "-"}  # layer: dashes


def collect(runs: Sequence[RunDirectory], folder: Path) -> None:
    """Write saturation.csv (share by network, seed, step and layer) and runs.json."""
    entries = archived.gather(runs, folder)
    observations.write(folder / "saturation.csv", runs, ("saturated",))
    collected.write_entries(folder / "runs.json", entries)


def read_rows(folder: Path) -> list[Row]:
    return observations.read(folder / "saturation.csv")


def over_training(rows: Sequence[Row], network: str, layer: int) -> list[float]:
    """The mean share of saturated units over the training, by seed."""
    return by_seed(rows, "saturated", network=network, layer=layer, step=EVENLY)


def draw(folder: Path, out: Path) -> None:
    """Write saturation (png, svg, pdf) and table.md."""
    rows = read_rows(folder)
    _draw(rows, out / "saturation")
    (out / "table.md").write_text(_table(rows, collected.read_json(folder / "runs.json")))


def _draw(rows: Sequence[Row], stem: Path) -> None:
    fig, axes = style.figure(7.0, 2.9, columns=2, sharey=True)
    for axis, network in zip(axes, NETWORKS, strict=True):
        color = style.STYLE[network]["color"]
        for layer in LAYERS:
            steps, shares = observations.path(rows, "saturated", network=network, layer=layer)
            shares = 100 * shares
            axis.plot(
                steps, shares.mean(0), color=color, linestyle=LOOK[layer], label=f"hidden layer {layer}"
            )
            axis.fill_between(steps, shares.min(0), shares.max(0), color=color, alpha=0.2, lw=0)
        n = len(over_training(rows, network, 1))
        axis.set(xlabel="training step", title=f"{style.LABEL[network]} (n = {n})", xlim=(0, EVENLY[-1]))
        style.thousands(axis.xaxis)
        axis.legend(loc="center right")
    axes[0].set(ylabel="saturated sigmoids (%)", ylim=(0, None))
    style.save(fig, stem)


def _table(rows: Sequence[Row], document: Mapping[str, Any]) -> str:
    lines = [
        "| saturated sigmoids (%) | without BN | with BN | without minus with |",
        "|---|---|---|---|",
    ]

    def line(name: str, values: Sequence[Sequence[float]]) -> None:
        percent = [[100 * value for value in seeds] for seeds in values]
        more = [plain - with_bn for plain, with_bn in zip(*percent, strict=True)]
        cells = [collected.mean_text(seeds, 2) for seeds in percent]
        lines.append(f"| {name} | {' | '.join(cells)} | {collected.mean_text(more, 2, '+')} |")

    for layer in LAYERS:
        values = [over_training(rows, network, layer) for network in NETWORKS]
        line(f"hidden layer {layer}, mean over the training", values)
    for step, when in ((0, "before training"), (EVENLY[-1], "at the end")):
        for layer in LAYERS:
            found = [by_seed(rows, "saturated", network=n, layer=layer, step=step) for n in NETWORKS]
            line(f"hidden layer {layer}, {when}", found)
    n = len(over_training(rows, NETWORKS[0], 1))
    return collected.document(
        lines,
        "A sigmoid's output is saturated if the sigmoid's derivative there is below a tenth of its maximum. "
        "The table has the share of a layer's outputs, over all units and 10,020 training examples. "
        f"{collected.means(f'n = {n} seeds')} Differences are computed seed by seed. The mean over the "
        "training is that of the steps 0, 10,000, ..., 50,000.",
        collected.origin(document),
    )
