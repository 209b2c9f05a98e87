"""The size of the mini-batch, and the statistics of the inference (section 3.1, claims 23 and 27).

    python scripts/reproduce.py batch_size     5 sizes: a grid of 3 rates, then 5 further seeds; 3 rates x 5
                                               seeds of Figure 1 (configs/sweep/batch_size_*.yaml,
                                               moving_averages.yaml)

The sizes: the network of Figure 1 with BN in mini-batches of 2, 10, 60, 250 and 1,000, each at its own best
rate (`experiments.chosen`): its accuracy, and how far its outputs in training, where they depend on the rest
of the mini-batch, are from those at inference (`bn.observe.population_gap`, at the end, over 10,000 training
examples). The paper allows any size m > 1.

The statistics: "Using moving averages instead, we can track the accuracy of a model as it trains". Figure 1's
training at rates 0.1 (the figure's), 1 and 10, with the accuracy by moving averages and by Algorithm 2 at
each of its 28 evaluations. Measured numbers, with n: table.md (sizes) and moving_averages.md in
results/batch_size.

Decisions that the rules left open: every size sees 210,000 examples, so that larger mini-batches take fewer
steps; more would cost too much at size 2, which takes 105,000. Algorithm 2 takes 18,000 examples at each
size, and the moving averages weight the newest mini-batch with 0.1 at each. Three rates for each size, a
factor of 3 apart, in the middle about 2 sqrt(size / 60); three runs of another seed with 300 mini-batches of
1,000 came before. What "ends above 95%" means is said in `optimizers`. "The two differ by less than 0.5
points on average": the mean over evaluations and seeds of the absolute difference, in points of test
accuracy. What Algorithm 2 takes during the training are the mini-batches that it takes at the end.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from bn.config import Config
from bn.run.directory import RunDirectory, read_lines
from experiments import chosen, collected, style

SIZES = (2, 10, 60, 250, 1000)
EXAMPLES = 210_000
SWEEPS = {**{f"batch_size_{size}": () for size in SIZES}, "moving_averages": ()}
COLUMNS = ("size",)
GAP = ("observe/population_gap/probabilities", "observe/population_gap/classes")
ACCURACIES = ("test/accuracy", "test/accuracy_population")
EARLY = 1_000  # the step up to which a part of the table looks
COLORS = ("#56B4E9", "#0072B2", "#000000")  # of the rates, from the smallest

Paths = dict[float, tuple[np.ndarray, np.ndarray]]  # rate: steps (T,), accuracies (seeds, T, 2)


def case_of(config: Config) -> chosen.Case:
    return (str(config.optim.batch),)


def collect(runs: Sequence[RunDirectory], folder: Path) -> None:
    """Of the sizes' grid: final.csv (one row a run); of the statistics: moving_averages.csv; runs.json."""
    tracked = [run for run in runs if run.config.evaluate.population == "always"]
    chosen.write([run for run in runs if run not in tracked], folder / chosen.GRID, COLUMNS, case_of, GAP)
    collected.check_all_ended(tracked)
    rows = [
        (f"{run.config.optim.lr:g}", run.config.seed, line["step"], *(line[key] for key in ACCURACIES))
        for run in collected.ended(tracked)
        for line in read_lines(run.path / "metrics.jsonl")
        if ACCURACIES[0] in line
    ]
    header = ("rate", "seed", "step", "test_accuracy", "test_accuracy_population")
    collected.write_csv(folder / "moving_averages.csv", header, rows)
    collected.write_provenance(folder / "runs.json", runs)


def further_sweeps(folder: Path) -> list[tuple[str, tuple[str, ...]]]:
    """The five further seeds of each size at its rate."""
    return [
        (f"batch_size_{size}", (f"optim.lr={chosen.best(cells):g}", "seed=1,2,3,4,5"))
        for (size,), cells in chosen.read(folder / chosen.GRID, COLUMNS).items()
    ]


def collect_further(runs: Sequence[RunDirectory], folder: Path) -> None:
    """Of the further seeds: further_seeds.csv (one row a run) and further_seeds_runs.json."""
    chosen.write(runs, folder / chosen.FURTHER, COLUMNS, case_of, GAP)
    collected.write_provenance(folder / "further_seeds_runs.json", runs)


def draw(folder: Path, out: Path) -> None:
    """batch_size (png, svg, pdf), table.md and moving_averages.md."""
    grid = chosen.read(folder / chosen.GRID, COLUMNS)
    further = chosen.read_further(folder, COLUMNS, grid)
    paths = read_paths(folder)
    _draw(further, paths, out / "batch_size")
    (out / "table.md").write_text(_table(grid, further))
    (out / "moving_averages.md").write_text(_table_of_statistics(paths))


def read_paths(folder: Path) -> Paths:
    rows = collected.read_csv(folder / "moving_averages.csv")
    found: Paths = {}
    for rate in sorted({float(row["rate"]) for row in rows}):
        own = [row for row in rows if float(row["rate"]) == rate]
        steps = sorted({int(row["step"]) for row in own})
        values = [[float(row["test_accuracy"]), float(row["test_accuracy_population"])] for row in own]
        found[rate] = np.array(steps), np.array(values).reshape(-1, len(steps), 2)
    return found


def apart(accuracies: np.ndarray) -> list[float]:
    """For each seed of (seeds, T, 2): points between the two accuracies, the mean over the evaluations."""
    return (100 * abs(accuracies[..., 0] - accuracies[..., 1])).mean(1).tolist()


def _draw(further: Mapping[chosen.Case, list[chosen.Run]], paths: Paths, stem: Path) -> None:
    fig, (left, middle, right) = style.figure(9.6, 3.0, columns=3)
    sizes = [int(size) for (size,) in further]
    population = {"color": style.WITH["color"], "marker": "o", "ms": 3.5}
    for label, of, look in (
        ("Algorithm 2's statistics", lambda run: run.test, population),
        ("moving averages", lambda run: run.test_moving, {"color": "#E69F00", "linestyle": "--"}),
    ):
        values = 100 - 100 * np.array([[of(run) for run in runs] for runs in further.values()])
        left.plot(sizes, values.mean(1), label=label, **look)
        left.fill_between(sizes, values.min(1), values.max(1), color=look["color"], alpha=0.2, lw=0)
    left.set(
        yscale="log", title="(a) accuracy at the end",
        ylabel="test accuracy (%),\nlogarithmic in the error",
    )  # fmt: skip
    ticks = (50, 80, 90, 95, 97)
    left.set_yticks([100 - tick for tick in ticks], [f"{tick}" for tick in ticks])
    left.invert_yaxis()
    left.legend(loc="lower right")
    for name, label, look in (
        ("probabilities", "distance of probabilities", {**population, "linestyle": "-"}),
        (
            "classes",
            "share with another class",
            {"color": "#000000", "linestyle": ":", "marker": "s", "ms": 3},
        ),
    ):
        values = np.array([[run.extra[name] for run in runs] for runs in further.values()])
        middle.plot(sizes, values.mean(1), label=label, **look)
        middle.fill_between(sizes, values.min(1), values.max(1), color=look["color"], alpha=0.2, lw=0)
    middle.set(yscale="log", title="(b) outputs in training and at inference")
    middle.legend(loc="upper right")
    for axis in (left, middle):
        axis.set(xscale="log", xlabel="examples in a mini-batch")
        axis.set_xticks(sizes, [f"{size:,}" for size in sizes])
        axis.minorticks_off()
    for color, (rate, (steps, values)) in zip(COLORS, paths.items(), strict=True):
        difference = 100 * (values[..., 0] - values[..., 1])
        right.plot(steps, difference.mean(0), color=color, label=f"rate {rate:g}")
        right.fill_between(steps, difference.min(0), difference.max(0), color=color, alpha=0.2, lw=0)
    right.axhline(0, color="0.5", lw=0.8, zorder=0)
    right.set(
        xscale="log", xlabel="training step", title="(c) moving averages against Algorithm 2",
        ylabel="difference of test accuracy (points)",
    )  # fmt: skip
    style.thousands(right.xaxis)
    right.legend(loc="lower right")
    style.save(fig, stem)


def _table(grid: chosen.Grid, further: Mapping[chosen.Case, list[chosen.Run]]) -> str:
    lines = [
        "| examples in a mini-batch | steps | rate | test accuracy (%) | the same, moving averages "
        "| distance of the probabilities, training from inference | examples with another class (%) |",
        "|--:|--:|--:|---|---|---|---|",
    ]
    for case, runs in further.items():
        size = int(case[0])
        cells = (
            f"{size:,}", f"{EXAMPLES // size:,}", chosen.rate_text(grid[case]), chosen.percent(runs),
            chosen.percent(runs, lambda run: run.test_moving),
            collected.mean_text([run.extra["probabilities"] for run in runs], 4),
            collected.mean_text([100 * run.extra["classes"] for run in runs], 2),
        )  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    n = collected.seeds_text(len(runs) for runs in further.values())
    note = (
        f"The network of Figure 1 with BN after {EXAMPLES:,} examples, at a constant rate. Test accuracy by "
        "Algorithm 2's statistics, of 18,000 training examples, and by moving averages with weight 0.1 for "
        f"the newest mini-batch. Mean ± half-width of the 95% confidence interval, {n}; each seed where they "
        f"lie more than {chosen.APART:g} points apart. Distance: total variation between an example's class "
        "probabilities in training, in a mini-batch of this size, and at inference by Algorithm 2's "
        "statistics, from 0 to 1, mean of 10,000 training examples; another class: the most probable one "
        f"differs. {chosen.NOTE}"
    )
    return "\n".join(lines) + f"\n\n{note}\n"


def _table_of_statistics(paths: Paths) -> str:
    lines = [
        "| rate | difference, all evaluations (points) | difference, up to step 1,000 | the largest "
        "| at the end: moving averages (%) | Algorithm 2 (%) |",
        "|--:|---|---|---|---|---|",
    ]
    for rate, (steps, values) in paths.items():
        largest = 100 * abs(values[..., 0] - values[..., 1]).max(1)
        cells = [
            f"{rate:g}",
            collected.mean_text(apart(values), 2),
            collected.mean_text(apart(values[:, steps <= EARLY]), 2),
            collected.summary(largest.tolist(), chosen.APART),
            *(collected.summary((100 * values[:, -1, i]).tolist(), chosen.APART) for i in (0, 1)),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    steps, values = next(iter(paths.values()))
    note = (
        f"Figure 1's training with BN at three rates: test accuracy by moving averages and by Algorithm 2 at "
        f"{len(steps)} evaluations, from step {steps[0]:,} to {steps[-1]:,}. Difference: absolute, the mean "
        f"over the evaluations; largest: of a seed's evaluations. Mean ± half-width of the 95% confidence "
        f"interval, {collected.seeds_text([len(values)])}; each seed where they lie more than "
        f"{chosen.APART:g} points apart."
    )
    return "\n".join(lines) + f"\n\n{note}\n"
