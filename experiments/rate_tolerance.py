"""The learning rates that each network tolerates: section 3.3's "Batch Normalization enables higher learning
rates", which section 4.2 shows at two learning rates.

    python scripts/reproduce.py rate_tolerance     3 networks x 7 rates x some seeds, a few hundred steps each
                                                   (configs/sweep/rate_tolerance.yaml)

The paper: Inception at five times its learning rate "caused the model parameters to reach machine infinity";
BN-x5 and BN-x30 train at 5 and 30 times that learning rate. Here Inception, BN-Baseline (the same network
with BN, nothing else changed) and BN-x5-Sigmoid train for a few hundred steps at 1 to 300 times the base's
learning rate. Measured numbers, with n: results/rate_tolerance/table.md.

Deviations and assumptions: accuracy is measured on the validation images after these steps; the networks with
BN use Algorithm 2's statistics, because moving averages lag at high learning rates. A run ended at chance if
its accuracy does not exceed what 0.1% of guessing networks exceed. A run that diverged has no accuracy and
counts as chance. A network trains at a learning rate if none of its seeds diverged or ended at chance.
BN-x5-Sigmoid also has the other changes of section 4.2.1. A network that trains for these steps need not
train to the end, and the learning rate need not be a good one.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bn.run.directory import RunDirectory
from experiments import collected, networks, style

SWEEPS = {"rate_tolerance": ()}
NETWORKS = ("inception", "bn_baseline", "bn_x5_sigmoid")
HEADER = ("network", "factor", "seed", "state", "step", "accuracy", "at_chance")
CROSS = {"marker": "x", "ms": 7, "mew": 2, "linestyle": "none"}


class Cell(NamedTuple):
    """The seeds of one network at one learning rate. The accuracy of a diverged run counts as chance."""

    accuracy: list[float]
    diverged: list[int]  # the steps by which runs diverged
    at_chance: int

    @property
    def trains(self) -> bool:
        return not self.diverged and not self.at_chance


Grid = dict[str, dict[float, Cell]]  # network: multiple of the base's learning rate: cell


def collect(runs: Sequence[RunDirectory], folder: Path) -> None:
    """Write final.csv (one row per ended run) and runs.json."""
    runs = networks.ended(runs)
    rows = []
    for run, training in zip(runs, networks.trainings(runs), strict=True):
        final = training.final
        at_chance = final is not None and final <= training.chance_level(1)
        rows.append((
            training.network, run.config.optim.lr_factor, training.seed, training.state, training.end, final,
            "yes" if at_chance else "no",
        ))  # fmt: skip
    collected.write_csv(folder / "final.csv", HEADER, rows)
    collected.write_provenance(folder / "runs.json", runs)


def draw(folder: Path, out: Path) -> None:
    """Write rate_tolerance (png, svg, pdf) and table.md."""
    document = collected.read_json(folder / "runs.json")
    grid = read_grid(folder, 1 / document["config"]["data.classes"])
    _draw(grid, document["config"], out / "rate_tolerance")
    (out / "table.md").write_text(_table(grid, document))


def read_grid(folder: Path, chance: float) -> Grid:
    found: dict[str, dict[float, Cell]] = {name: defaultdict(lambda: Cell([], [], 0)) for name in NETWORKS}
    for row in collected.read_csv(folder / "final.csv"):
        cells, factor = found[row["network"]], float(row["factor"])
        cell = cells[factor]
        cell.accuracy.append(float(row["accuracy"]) if row["accuracy"] else chance)
        if row["state"] == "diverged":
            cell.diverged.append(int(row["step"]))
        cells[factor] = cell._replace(at_chance=cell.at_chance + (row["at_chance"] == "yes"))
    return {network: dict(sorted(cells.items())) for network, cells in found.items() if cells}


def largest(cells: Mapping[float, Cell]) -> float | None:
    """The largest factor up to which the network always trains; None if it does not at the smallest."""
    found = None
    for factor, cell in sorted(cells.items()):
        if not cell.trains:
            break
        found = factor
    return found


def _draw(grid: Grid, config: Mapping[str, Any], stem: Path) -> None:
    fig, axis = style.figure(6.6, 3.6)
    chance = 100 / config["data.classes"]
    axis.axhline(chance, color="0.5", lw=0.8, zorder=0)
    axis.annotate(
        "chance", (0, chance), (3, -3), xycoords=("axes fraction", "data"), va="top",
        textcoords="offset points", fontsize=8, color="0.4",
    )  # fmt: skip
    for i, (network, cells) in enumerate(grid.items()):
        look = style.STYLE[network]
        seeds = collected.seeds_text(len(cell.accuracy) for cell in cells.values()).removesuffix("s")
        label = f"{style.LABEL[network]} ({seeds.removesuffix(' seed')})"
        values = [100 * np.array(cell.accuracy) for cell in cells.values()]
        axis.plot(cells.keys(), [value.mean() for value in values], label=label, **look)
        axis.fill_between(
            cells.keys(), [value.min() for value in values], [value.max() for value in values],
            color=look["color"], alpha=0.2, lw=0,
        )  # fmt: skip
        for factor, cell in cells.items():
            shift = factor * 1.07 ** (i - 1)  # keeps marks of several networks apart
            kind = "o" if cell.trains else "x" if cell.diverged else "v"
            face = look["color"] if cell.trains else "white"
            axis.plot(
                factor if cell.trains else shift, 100 * np.mean(cell.accuracy), kind, color=look["color"],
                mfc=face, ms=7 if kind == "x" else 5, mew=2 if kind == "x" else 1.2, zorder=4 + i,
                clip_on=False,
            )  # fmt: skip
    axis.plot([], [], "v", color="0.3", mfc="white", ms=5, mew=1.2, label="a seed ended at chance")
    axis.plot([], [], **CROSS, color="0.3", label="a seed diverged")
    factors = sorted({factor for cells in grid.values() for factor in cells})
    axis.set(
        xscale="log", ylim=(0, None), title=networks.setting(config),
        xlabel=f"initial learning rate, in multiples of the base's {config['optim.lr']:g}",
        ylabel="validation accuracy (%)",
    )  # fmt: skip
    axis.set_xticks(factors, [f"{factor:g}" for factor in factors])
    axis.minorticks_off()
    fig.legend(*axis.get_legend_handles_labels(), loc="outside right center")
    style.save(fig, stem)


def _table(grid: Grid, document: Mapping[str, Any]) -> str:
    config = document["config"]
    lines = [
        f"| times the base's learning rate, {config['optim.lr']:g} | "
        + " | ".join(style.LABEL[network] for network in grid) + " |",
        "|--:|" + "---|" * len(grid),
    ]  # fmt: skip
    for factor in sorted({factor for cells in grid.values() for factor in cells}):
        cells = [_shown(grid[network].get(factor)) for network in grid]
        lines.append(f"| {factor:g} | {' | '.join(cells)} |")
    found = [largest(cells) for cells in grid.values()]
    shown = ["none" if factor is None else f"{factor:g}" for factor in found]
    lines.append(f"| **the largest that trains** | {' | '.join(f'**{name}**' for name in shown)} |")
    seeds = collected.seeds_text(len(cell.accuracy) for cells in grid.values() for cell in cells.values())
    return collected.document(
        lines,
        f"{networks.trained(config)} The table has their validation accuracy (%, top-1, single crop) after "
        f"these steps, with BN by Algorithm 2's statistics. {collected.means(seeds)} A run that diverged "
        f"counts as chance. {networks.AT_CHANCE}",
        "A network trains at a learning rate if none of its seeds diverged or ended at chance. The last row "
        "gives the largest learning rate, as a multiple, up to which it trains at every one tried.",
        collected.origin(document),
    )


def _shown(cell: Cell | None) -> str:
    if cell is None:
        return "-"
    value = collected.mean_text([100 * accuracy for accuracy in cell.accuracy], 2)
    return "; ".join((value, *networks.failures(cell.diverged, cell.at_chance, len(cell.accuracy))))
