"""Internal covariate shift (sections 1 and 3): how far training moves a layer's inputs, with and without BN,
and whether more shift goes with slower training.

    python scripts/reproduce.py covariate_shift     2 networks x 24 settings x 5 seeds x 2,500 steps
                                                    (configs/sweep/covariate_shift.yaml), and the networks of
                                                    Figure 1 x 5 seeds (configs/sweep/inside_mlp.yaml)

The paper defines internal covariate shift as the change in the distribution of a layer's inputs due to the
change of the parameters. It says that shift slows down training and that BN reduces it, but does not measure
it. Here the same runs give two measures. Shift: the 1-Wasserstein distance between a unit's inputs to the
sigmoid before and after one step, in units of their standard deviation (`bn.observe.shift.InputShift`).
Gradient shift: the change of a layer's gradient when the layers before it have taken the step and the layer
itself has not (Santurkar et al. 2018; `bn.observe.shift.GradientShift`). They also show how small changes of
the weights amplify with depth, and the correlations between units, which BN leaves. Measured numbers, with n:
results/covariate_shift/table.md.

Deviations and assumptions, decided before the runs:

- Distributions are those of the input to the sigmoid, in training mode; with BN it is BN's output, as in
  Figure 1.
- The settings are those of the fair comparison: 8 learning rates x 3 stds, on 50,000 training examples, five
  seeds each; two of these were trained when the results of the other three were known. A run's shift is the
  geometric mean over the three hidden layers and over ten steps, the first and every 250th. Claim 1 compares,
  seed by seed, the geometric means over the 24 settings; Spearman's rho is between the settings' geometric
  means over the seeds and their mean test accuracies. Accuracies with BN are by Algorithm 2's statistics. A
  run that diverged counts as chance, with the shift of its earlier steps. A step at which a layer does not
  move at all, or has no spread, has no logarithm and is left out. (The settings at which the network without
  BN learns are shown separately; they were chosen after the runs and decide nothing.)
- The gradient is that of the weights W, on the first mini-batch of the observed examples, not on the
  mini-batch of the step.
- Claims 2 and 38 are decided on the trained networks of Figure 1. Each weight matrix of the whole network is
  changed by noise of 1% of its norm. "From the second to the last layer": the first layer's input is the
  image, the second's is z of the first hidden layer, and the last's, the classifier's, is z of the third. The
  change is relative to the norm of z.
- Claims 15 and 22 are decided on the last hidden layer of the networks of Figure 1. The change of the
  correlations from step 5,000 to 50,000 is taken over one half of the observed examples; its yardstick is the
  difference at step 50,000 between that half and the other.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import fmean, geometric_mean
from typing import Any, NamedTuple

import numpy as np

from bn.config import MlpModel
from bn.run.directory import RunDirectory, read_lines
from experiments import archived, collected, observations, style
from experiments.observations import NETWORKS, Row, by_seed

SWEEPS = {"covariate_shift": (), "inside_mlp": ()}
MEASURES = ("shift", "gradient_shift")
OBSERVED = (
    *MEASURES, "gradient_cosine", "amplified", "correlation", "correlation_sampling", "correlation_change",
)  # fmt: skip
HEADER = ("network", "init_std", "lr", "seed", "state", "step", *MEASURES, "test_accuracy")
CHANCE, LEARNS = 0.1, 0.2  # accuracies: for runs that diverged; above which a network learns
END, LAST = 50_000, 3  # last step of Figure 1's training; last hidden layer
TICKS = (10, 50, 80, 90, 95, 97)  # % accuracy, on a logarithmic axis of the error


def collect(runs: Sequence[RunDirectory], folder: Path) -> None:
    """Write grid.csv (one row per run), inside.csv (the networks of Figure 1) and runs.json."""
    entries = archived.gather(runs, folder)  # all of them: seeds are compared pairwise
    whole = [run for run in runs if "amplification" in run.config.observe]
    grid = [run for run in runs if run not in whole]
    archived.write_rows(folder / "grid.csv", HEADER, grid, _who, lambda run: [(*_who(run), *_numbers(run))])
    observations.write(folder / "inside.csv", whole, OBSERVED)
    collected.write_entries(folder / "runs.json", entries)


def _who(run: RunDirectory) -> tuple[str, float, float, int]:
    assert isinstance(run.config.model, MlpModel)
    return run.config.experiment, run.config.model.init_std, run.config.optim.lr, run.config.seed


def _numbers(run: RunDirectory) -> tuple[Any, ...]:
    found = observations.observed(run, MEASURES)
    means = []
    for name in MEASURES:
        values = [numbers[name] for _, _, numbers in found if numbers.get(name, 0) > 0]
        means.append(f"{geometric_mean(values):.5g}" if values else "")
    accuracy = CHANCE
    if run.status["state"] == "done":
        last = read_lines(run.path / "metrics.jsonl")[-1]
        accuracy = last.get("test/accuracy_population", last["test/accuracy"])
    return run.status["state"], run.status["step"], *means, accuracy


class Setting(NamedTuple):
    """The seeds of one network at one std and learning rate."""

    measures: dict[str, dict[int, float]]  # measure: seed: value, without seeds that have none
    accuracy: list[float]


Grid = dict[str, dict[tuple[float, float], Setting]]  # network: (std, learning rate): setting


def read_grid(folder: Path) -> Grid:
    found: dict[str, dict] = {
        name: defaultdict(lambda: Setting({measure: {} for measure in MEASURES}, [])) for name in NETWORKS
    }
    for row in collected.read_csv(folder / "grid.csv"):
        setting = found[row["network"]][float(row["init_std"]), float(row["lr"])]
        setting.accuracy.append(float(row["test_accuracy"]))
        for measure in MEASURES:
            if row[measure]:
                setting.measures[measure][int(row["seed"])] = float(row[measure])
    return found


def read_inside(folder: Path) -> list[Row]:
    return observations.read(folder / "inside.csv")


def over_settings(grid: Grid, network: str, measure: str) -> list[float]:
    """The geometric mean over the settings, by seed."""
    values: dict[int, list[float]] = defaultdict(list)
    for setting in grid[network].values():
        for seed, value in setting.measures[measure].items():
            values[seed].append(value)
    return [geometric_mean(values[seed]) for seed in sorted(values)]


def times_less(grid: Grid, measure: str) -> list[float]:
    """How many times smaller the measure is with BN, by seed: the geometric mean over the settings."""
    ratios: dict[int, list[float]] = defaultdict(list)
    for key, plain in grid[NETWORKS[0]].items():
        with_bn = grid[NETWORKS[1]][key].measures[measure]
        for seed, value in plain.measures[measure].items():
            if seed in with_bn:
                ratios[seed].append(value / with_bn[seed])
    return [geometric_mean(ratios[seed]) for seed in sorted(ratios)]


def above_chance(grid: Grid) -> Grid:
    """The settings at which every seed of the network without BN is more accurate than `LEARNS`."""
    keys = [key for key, setting in grid[NETWORKS[0]].items() if min(setting.accuracy) > LEARNS]
    return {network: {key: cells[key] for key in keys} for network, cells in grid.items()}


def middle(setting: Setting, measure: str) -> float:
    """The geometric mean over the seeds; nan if none has a value."""
    values = list(setting.measures[measure].values())
    return geometric_mean(values) if values else float("nan")


def rank_correlation(grid: Grid, network: str, measure: str) -> float:
    """Spearman's rho between the measure and the accuracy, over the settings."""
    settings = list(grid[network].values())
    values = [middle(setting, measure) for setting in settings]
    return _rho(values, [fmean(setting.accuracy) for setting in settings])


def rank_correlation_of_gains(grid: Grid, measure: str) -> float:
    """Spearman's rho between BN's reduction of the measure and BN's gain in accuracy, over the settings."""
    plain, with_bn = (grid[network] for network in NETWORKS)
    less = [middle(plain[key], measure) / middle(with_bn[key], measure) for key in plain]
    gains = [fmean(with_bn[key].accuracy) - fmean(plain[key].accuracy) for key in plain]
    return _rho(less, gains)


def _rho(one: Sequence[float], other: Sequence[float]) -> float:
    from scipy.stats import spearmanr  # which takes a second to import

    found: Any = spearmanr(one, other, nan_policy="omit")
    return float(found.statistic)


def draw(folder: Path, out: Path) -> None:
    """Write covariate_shift (png, svg, pdf) and table.md."""
    grid, rows = read_grid(folder), read_inside(folder)
    _draw(grid, rows, out / "covariate_shift")
    (out / "table.md").write_text(_table(grid, rows, collected.read_json(folder / "runs.json")))


def _draw(grid: Grid, rows: Sequence[Row], stem: Path) -> None:
    fig, axes = style.figure(9.6, 3.1, columns=3)
    for axis, measure in zip(axes, MEASURES, strict=False):
        for network in NETWORKS:
            steps, values = observations.path(
                rows, measure, network=network, layer=(2, 3), together=geometric_mean
            )
            look = style.STYLE[network]
            label = f"{style.LABEL[network]} (n = {len(values)})"
            axis.plot(steps, np.exp(np.log(values).mean(0)), marker="o", ms=3, label=label, **look)
            axis.fill_between(steps, values.min(0), values.max(0), color=look["color"], alpha=0.25, lw=0)
        axis.set(xscale="log", yscale="log", xlabel="training step")
        axis.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        style.thousands(axis.xaxis)
    axes[0].set(title="(a) shift in one step", ylabel="Wasserstein distance over the spread")
    axes[1].set(title="(b) gradient shift in one step", ylabel="change of the gradient over its norm")
    axes[0].legend(loc="best")
    axis = axes[2]
    for network in NETWORKS:
        settings = list(grid[network].values())
        axis.plot(
            [middle(setting, "shift") for setting in settings],
            [100 - 100 * fmean(setting.accuracy) for setting in settings],
            "o" if network == NETWORKS[1] else "s", color=style.STYLE[network]["color"], ms=4,
            mfc="none" if network == NETWORKS[0] else None, label=style.LABEL[network],
        )  # fmt: skip
    axis.set(
        xscale="log", yscale="log", ylim=(95, 2.5), xlabel="shift in one step",
        ylabel="test accuracy (%) at step 2,500", title="(c) 24 settings of each network",
    )  # fmt: skip
    axis.set_yticks([100 - tick for tick in TICKS], [f"{tick}" for tick in TICKS])
    axis.yaxis.set_minor_formatter(lambda *_: "")
    style.save(fig, stem)


def _table(grid: Grid, rows: Sequence[Row], document: Mapping[str, Any]) -> str:
    lines = ["| | without BN | with BN | ratio, without over with |", "|---|---|---|---|"]

    def line(name: str, values: Sequence[Sequence[float]], digits: int, percent: bool = False) -> None:
        times = 100 if percent else 1
        cells = [collected.mean_text([times * value for value in seeds], digits) for seeds in values]
        ratio = collected.ratio_text([a / b for a, b in zip(*values, strict=True)])
        lines.append(f"| {name} | {' | '.join(cells)} | {ratio} |")

    def inner(
        name: str, layer: int | tuple[int, ...], together: Callable = geometric_mean, **where: Any
    ) -> list[list[float]]:
        return [by_seed(rows, name, together, network=n, layer=layer, **where) for n in NETWORKS]

    for layer in (1, 2, 3):
        line(f"shift in one step, hidden layer {layer} (% of the spread)", inner("shift", layer), 2, True)
    for layer in (2, 3):
        name = f"gradient shift in one step, hidden layer {layer} (% of the gradient)"
        line(name, inner("gradient_shift", layer), 2, True)
    for layer in (2, 3):
        line(
            f"cosine of the gradients before and after, hidden layer {layer}",
            inner("gradient_cosine", layer, fmean),
            4,
        )
    for layer, which in ((1, "second"), (2, "third"), (3, "last")):
        name = f"change of the {which} layer's input where all weights change by 1% (%)"
        line(name, inner("amplified", layer, step=END), 3, True)
    line("mean absolute correlation of two units, last hidden layer", inner("correlation", LAST, step=END), 3)
    line(
        f"change of the correlations, from step {END // 10:,}", inner("correlation_change", LAST, step=END), 3
    )
    line("the same, between two samples of examples", inner("correlation_sampling", LAST, step=END), 3)
    learning = above_chance(grid)
    for some, which in ((grid, ""), (learning, " where the network without BN learns*")):
        for measure, name in zip(MEASURES, ("shift", "gradient shift"), strict=True):
            values = [over_settings(some, network, measure) for network in NETWORKS]
            cells = [collected.mean_text([100 * value for value in seeds], 2) for seeds in values]
            ratio = collected.ratio_text(times_less(some, measure))
            number = len(some[NETWORKS[0]])
            lines.append(f"| {name} at {number} settings{which} (%) | {' | '.join(cells)} | {ratio} |")
    for measure, name in zip(MEASURES, ("shift", "gradient shift"), strict=True):
        cells = [f"{rank_correlation(grid, network, measure):.2f}" for network in NETWORKS]
        of_gains = f"{rank_correlation_of_gains(grid, measure):.2f}"
        lines.append(
            f"| {name} and accuracy at {len(grid[NETWORKS[0]])} settings, Spearman's rho | "
            f"{' | '.join(cells)} | {of_gains} |"
        )
    n = len(by_seed(rows, "shift", network=NETWORKS[0]))
    steps = len({row.step for row in rows if "shift" in row.numbers})
    per_setting = collected.seeds_text(
        len(setting.accuracy) for cells in grid.values() for setting in cells.values()
    )
    return collected.document(
        lines,
        f"{collected.means('the seeds')} {collected.RATIOS}",
        (
            "**Shift** is the 1-Wasserstein distance between a unit's inputs to the sigmoid before and "
            "after a step, over their standard deviation.",
            "**Gradient shift** is the change of the gradient with respect to a layer's weights when the "
            "layers before it take the step, over the norm of the gradient (Santurkar et al. 2018).",
            f"**At one setting:** rows that do not name settings are the networks of Figure 1 (n = {n} "
            f"seeds, 50,000 steps). Their shifts are geometric means over {steps} steps of the training.",
            "**At many settings:** these are learning rates and standard deviations of the initial weights, "
            f"trained for 2,500 steps ({per_setting} per setting). The numbers combine all layers.",
            f"**(*)** are the settings at which every seed ends above {100 * LEARNS:g}% accuracy without "
            "BN. They were selected after the runs, because a network at chance may barely move.",
            "**Spearman's rho** is over the settings, between the shift and the test accuracy after these "
            "steps. In the last column it is between the ratio of the shifts and BN's gain in accuracy.",
        ),
        collected.origin(document),
    )
