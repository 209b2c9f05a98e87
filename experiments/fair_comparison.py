"""The comparison the paper does not make: each network at its own best learning rate and initial std.

Section 4.1 compares at settings it does not state. Here both networks are trained over a grid of rates and
standard deviations of W, and each one's setting is chosen by accuracy on 10,000 training examples held out
(never by the test set). What BN buys "at the same rate" and what is left when each has its best can be told
apart then.

    python scripts/reproduce.py fair_comparison

2 networks x 8 rates x 3 stds x 3 seeds x 50,000 steps on 50,000 training examples
(configs/sweep/fair_comparison.yaml). Accuracies are the final ones: with BN, with Algorithm 2's statistics.
A run that diverged counts as chance, 10%, and is marked. Measured numbers, with n: table.md (chosen settings)
and grid.md (all) in results/fair_comparison.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bn.config import MlpModel
from bn.records import RunDirectory, read_lines
from experiments import collected, style

SWEEPS = {"fair_comparison": ()}
NETWORKS = ("mnist_baseline", "mnist_bn")
SAME_RATE, SAME_STD = 0.1, 0.1  # the setting of Figure 1
CHANCE = 0.1
TICKS = (10, 50, 80, 90, 95, 96, 97, 98)  # % accuracy, on a logarithmic axis of the error
HEADER = (
    "network", "init_std", "lr", "seed", "state", "steps",
    "validation_accuracy", "test_accuracy", "validation_accuracy_population", "test_accuracy_population",
)  # fmt: skip


class Cell(NamedTuple):
    """The seeds of one network at one setting: final accuracies, and whether the run diverged."""

    validation: list[float]
    test: list[float]
    diverged: list[bool]


Grid = dict[str, dict[tuple[float, float], Cell]]  # network: (std, lr): cell


def collect(runs: Sequence[RunDirectory], folder: Path) -> None:
    """final.csv (one row a run) and runs.json."""
    collected.check_all_ended(runs)  # a choice is among all of them
    rows = []
    for run in collected.ended(runs):
        lines = read_lines(run.path / "metrics.jsonl")
        last = next((line for line in reversed(lines) if "test/accuracy" in line), {})
        keys = [name.replace("_accuracy", "/accuracy") for name in HEADER[6:]]
        config, model = run.config, run.config.model
        assert isinstance(model, MlpModel)
        rows.append((
            config.experiment, model.init_std, config.optim.lr, config.seed,
            run.status["state"], run.status["step"], *(last.get(key, "") for key in keys),
        ))  # fmt: skip
    collected.write_csv(folder / "final.csv", HEADER, rows)
    collected.write_provenance(folder / "runs.json", runs)


def draw(folder: Path, out: Path) -> None:
    """fair_comparison (png, svg, pdf), table.md (chosen settings) and grid.md (all settings)."""
    grid = read_grid(folder)
    _draw(grid, out / "fair_comparison")
    (out / "table.md").write_text(_table(grid))
    (out / "grid.md").write_text(_grid_table(grid))


def read_grid(folder: Path) -> Grid:
    found: dict[str, dict] = {network: defaultdict(lambda: Cell([], [], [])) for network in NETWORKS}
    for row in collected.read_csv(folder / "final.csv"):
        cell = found[row["network"]][float(row["init_std"]), float(row["lr"])]
        diverged = row["state"] == "diverged"
        cell.diverged.append(diverged)
        for values, split in ((cell.validation, "validation"), (cell.test, "test")):
            value = row[f"{split}_accuracy_population"] or row[f"{split}_accuracy"]
            values.append(CHANCE if diverged else float(value))
    return found


def best(cells: dict[tuple[float, float], Cell], std: float | None = None) -> tuple[float, float]:
    """The (std, lr) of the highest mean validation accuracy, of one std or of all."""
    candidates = [key for key in cells if std is None or key[0] == std]
    return max(candidates, key=lambda key: float(np.mean(cells[key].validation)))


def _draw(grid: Grid, stem: Path) -> None:
    stds = sorted({std for std, _ in grid[NETWORKS[0]]})
    fig, axes = style.figure(9.0, 3.4, columns=len(stds), sharey=True)
    for axis, std in zip(axes, stds, strict=True):
        for network in NETWORKS:
            cells = grid[network]
            rates = sorted(lr for s, lr in cells if s == std)
            error = 100 - 100 * np.array([cells[std, lr].test for lr in rates])
            look = style.STYLE[network]
            axis.plot(rates, error.mean(1), marker="o", ms=3.5, label=style.LABEL[network], **look)
            axis.fill_between(rates, error.min(1), error.max(1), color=look["color"], alpha=0.25, lw=0)
            lost = [lr for lr in rates if any(cells[std, lr].diverged)]
            axis.plot(lost, [90] * len(lost), "x", color=look["color"], ms=7, mew=2)
            chosen = best(cells, std)
            axis.plot(
                chosen[1], 100 - 100 * np.mean(cells[chosen].test),
                marker="*", ms=13, color=look["color"], mec="white", mew=0.7, linestyle="none", zorder=5,
            )  # fmt: skip
        axis.set(
            xscale="log", yscale="log", xlabel="learning rate", title=f"initial std {std:g}", ylim=(95, 1.8)
        )
        axis.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axis.set_yticks([100 - tick for tick in TICKS], [f"{tick}" for tick in TICKS])
        axis.minorticks_off()
    axes[0].set_ylabel("test accuracy after 50,000 steps (%)")
    axes[0].plot([], [], marker="*", ms=10, color="0.4", linestyle="none", label="chosen on validation")
    axes[-1].legend(*axes[0].get_legend_handles_labels(), loc="lower center")
    style.save(fig, stem)


def _table(grid: Grid) -> str:
    n = len(next(iter(grid[NETWORKS[0]].values())).test)
    lines = ["| setting | without BN | with BN | BN's gain (points) |", "|---|---|---|---|"]

    def line(name: str, keys: Mapping[str, tuple[float, float]], show: bool) -> str:
        cells = []
        for network in NETWORKS:
            std, lr = keys[network]
            cells.append(
                _percent(grid[network][keys[network]].test) + (f" (rate {lr:g}, std {std:g})" if show else "")
            )
        plain, with_bn = (grid[network][keys[network]].test for network in NETWORKS)
        gain = [100 * (b - a) for a, b in zip(plain, with_bn, strict=True)]  # seed by seed
        return f"| {name} | {cells[0]} | {cells[1]} | {collected.mean_text(gain, 2, '+')} |"

    stds = sorted({std for std, _ in grid[NETWORKS[0]]})
    same: dict[str, tuple[float, float]] = dict.fromkeys(NETWORKS, (SAME_STD, SAME_RATE))
    lines.append(line(f"the same rate {SAME_RATE:g} and std {SAME_STD:g} (Figure 1)", same, False))
    for std in stds:
        if std != SAME_STD:
            keys: dict[str, tuple[float, float]] = dict.fromkeys(NETWORKS, (std, SAME_RATE))
            lines.append(line(f"the same rate {SAME_RATE:g} and std {std:g}", keys, False))
    for std in stds:
        keys = {network: best(grid[network], std) for network in NETWORKS}
        lines.append(line(f"each at its best rate, std {std:g}", keys, True))
    keys = {network: best(grid[network]) for network in NETWORKS}
    lines.append(line("each at its best rate and std", keys, True))
    note = (
        "Test accuracy (%) after 50,000 steps on 50,000 training examples, mean ± half-width of the 95% "
        f"confidence interval, n = {n} seeds. Rates and stds were chosen by mean accuracy on the 10,000 "
        "examples held out. The gain is that of the same seeds."
    )
    return "\n".join(lines) + f"\n\n{note}\n"


def _grid_table(grid: Grid) -> str:
    """Every setting: a row for each rate, a column for each network and std."""
    stds = sorted({std for std, _ in grid[NETWORKS[0]]})
    columns = [(network, std) for network in NETWORKS for std in stds]
    lines = [
        "| rate | " + " | ".join(f"{style.LABEL[network]}, std {std:g}" for network, std in columns) + " |",
        "|--:|" + "---|" * len(columns),
    ]
    for lr in sorted({lr for _, lr in grid[NETWORKS[0]]}):
        cells = (grid[network][std, lr] for network, std in columns)
        shown = (
            _percent(cell.test) + (f" ({sum(cell.diverged)} diverged)" if any(cell.diverged) else "")
            for cell in cells
        )
        lines.append(f"| {lr:g} | {' | '.join(shown)} |")
    return "\n".join(lines) + "\n"


def _percent(values: Sequence[float]) -> str:
    return collected.mean_text([100 * value for value in values], 2)
