"""Internal covariate shift and saturation (sections 1 and 3) inside Inception, early in its training: the
measures of `covariate_shift` and `saturation`.

    python scripts/reproduce.py inside_inception     2 networks x 2 nonlinearities x 3 seeds, and 3 seeds of
                                                     BN-x5-Sigmoid, 600 steps each
                                                     (configs/sweep/inside_inception.yaml and
                                                     inside_sigmoid.yaml)

The paper argues with the distributions of layers' inputs, but shows them only for a network of three hidden
layers. Here the two measures of shift and the share of saturated sigmoids are taken in four layers of
Inception: conv2, and a 3x3 convolution of 3b, 4c and 5b. Inception is compared with BN-Baseline, which
differs only by BN and trains at the same learning rate, with ReLUs as in the paper and with sigmoids.
Measured numbers, with n: results/inside_inception/table.md.

Deviations and assumptions, decided before the runs:

- Each number is a ratio or a difference seed by seed (n = 3), without BN against with it. BN reduces a shift
  if the 95% interval of the ratio (Student's t on the logarithms) lies above one, and increases it if it lies
  below; otherwise it is undecided. A seed's number is the geometric mean over the four layers and five steps:
  the first, and those after steps 30, 150, 300 and 450. BN keeps inputs out of the saturated regime if the
  share of saturated sigmoids, the mean over the four layers at step 600, is clearly smaller with it, and
  pushes them into it if it is clearly larger.
- The paper's account needs less shift with BN in the first measure, with ReLUs, and fewer saturated sigmoids.
  With only one learning rate, these runs cannot show whether shift slows training. The rules of the ledger
  were written for the MLP and do not use these numbers.
- The network with sigmoids that trains in the paper is BN-x5-Sigmoid, which also has the seven changes of
  section 4.2.1, among them five times the learning rate. BN-Baseline with sigmoids differs from Inception
  with sigmoids only by BN.
- BN-x5-Sigmoid itself was added after the records of the other two were known, and before its own runs. Only
  its saturation is measured, in the same layers and at the same steps (0, 30, 150, 300, 450, 600; n = 3), and
  compared with Inception with sigmoids. The rule is the one above: the mean share over the four layers at
  step 600, seed by seed against Inception's. Its sigmoids saturate during training if that share is clearly
  larger at step 600 than at step 0, and desaturate if it is clearly smaller; otherwise it is undecided. Depth
  makes saturation worse if the seeds' mean share at step 600 grows from each of the four layers to the next.
- A unit is a feature map, with its values at all locations. Distributions are of 128 training images; the
  gradient is that of 32 of them. Dropout uses the same mask before and after the step.
- "The layers before a layer" are those whose parameters come before its own in the network. In an Inception
  module this includes the 1x1 branch beside a 3x3 convolution, which is not below it.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import fmean, geometric_mean
from typing import Any, NamedTuple

import numpy as np

from bn.run.directory import RunDirectory, read_lines
from experiments import archived, collected, networks, observations, style
from experiments.inception_percentiles import layer_name
from experiments.observations import Row, by_seed

SWEEPS = {"inside_inception": (), "inside_sigmoid": ()}
NETWORKS = ("inception", "bn_baseline")
SIGMOIDS = (*NETWORKS, "bn_x5_sigmoid")  # the networks whose sigmoids are observed
NONLINEARITIES = {"relu": "ReLU", "sigmoid": "sigmoid"}
OBSERVED = ("shift", "gradient_shift", "gradient_cosine", "saturated")
FINAL = ("network", "nonlinearity", "seed", "validation_accuracy")
END = 600


def collect(runs: Sequence[RunDirectory], folder: Path) -> None:
    """Write relu.csv and sigmoid.csv (by network, seed, step, layer), final.csv (accuracy) and runs.json."""
    entries = archived.gather(runs, folder)  # all of them: seeds are compared pairwise
    for nonlinearity in NONLINEARITIES:
        own = [run for run in runs if run.config.model.nonlinearity == nonlinearity]
        observations.write(folder / f"{nonlinearity}.csv", own, OBSERVED)
    archived.write_rows(folder / "final.csv", FINAL, runs, _who, lambda run: [(*_who(run), _accuracy(run))])
    collected.write_entries(folder / "runs.json", entries)


def _who(run: RunDirectory) -> tuple[str, str, int]:
    return run.config.experiment, run.config.model.nonlinearity, run.config.seed


def _accuracy(run: RunDirectory) -> float:
    last = read_lines(run.path / "metrics.jsonl")[-1]
    return last.get("validation/accuracy_population", last["validation/accuracy"])


class Record(NamedTuple):
    rows: dict[str, list[Row]]  # by nonlinearity
    accuracy: dict[tuple[str, str], list[float]]  # by network and nonlinearity: of the seeds
    layers: list[str]
    document: dict[str, Any]  # runs.json


def read(folder: Path) -> Record:
    accuracy: dict[tuple[str, str], list[float]] = {}
    for row in collected.read_csv(folder / "final.csv"):
        seeds = accuracy.setdefault((row["network"], row["nonlinearity"]), [])
        seeds.append(float(row["validation_accuracy"]))
    rows = {name: observations.read(folder / f"{name}.csv") for name in NONLINEARITIES}
    document = collected.read_json(folder / "runs.json")
    return Record(rows, accuracy, list(map(layer_name, document["config"]["probe.layers"])), document)


def of_both(
    rows: Sequence[Row], name: str, together: Callable[..., float] = geometric_mean, **where: Any
) -> list[list[float]]:
    """For each network, one number per seed: `together` over the layers and steps that match `where`."""
    return [by_seed(rows, name, together, network=network, **where) for network in NETWORKS]


def draw(folder: Path, out: Path) -> None:
    """Write inside_inception (png, svg, pdf), table.md and saturation.md."""
    record = read(folder)
    _draw(record, out / "inside_inception")
    (out / "table.md").write_text(_table(record))
    (out / "saturation.md").write_text(_saturation_table(record))


def _draw(record: Record, stem: Path) -> None:
    fig, axes = style.figure(12.4, 3.1, columns=4)
    panels = (("relu", "shift"), ("relu", "gradient_shift"), ("sigmoid", "shift"))
    for axis, (nonlinearity, measure) in zip(axes, panels, strict=False):
        for network in NETWORKS:
            rows = record.rows[nonlinearity]
            steps, values = observations.path(rows, measure, network=network, together=geometric_mean)
            look, values = style.STYLE[network], 100 * values
            label = f"{style.LABEL[network]} (n = {len(values)})"
            axis.plot(steps, np.exp(np.log(values).mean(0)), marker="o", ms=3, label=label, **look)
            axis.fill_between(steps, values.min(0), values.max(0), color=look["color"], alpha=0.25, lw=0)
        axis.set(yscale="log")
        axis.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    for network in SIGMOIDS:
        steps, shares = observations.path(record.rows["sigmoid"], "saturated", network=network)
        look, shares = style.STYLE[network], 100 * shares
        axes[3].plot(steps, shares.mean(0), marker="o", ms=3, label=style.LABEL[network], **look)
        axes[3].fill_between(steps, shares.min(0), shares.max(0), color=look["color"], alpha=0.25, lw=0)
    for axis in axes:
        axis.set(xlim=(0, None), xlabel="training step")
    axes[0].set(title="(a) ReLU: shift in one step", ylabel="Wasserstein distance (% of the spread)")
    axes[1].set(title="(b) ReLU: gradient shift in one step", ylabel="change (% of the gradient)")
    axes[2].set(title="(c) sigmoid: shift in one step", ylabel="Wasserstein distance (% of the spread)")
    axes[3].set(title="(d) saturated sigmoids", ylabel="share (%)", ylim=(0, None))
    axes[0].legend(loc="best")
    axes[3].legend(loc="best")
    style.save(fig, stem)


def _table(record: Record) -> str:
    lines = ["| | without BN | with BN | ratio or difference |", "|---|---|---|---|"]

    def line(name: str, plain: Sequence[float], with_bn: Sequence[float], digits: int, ratio: bool) -> None:
        pairs = list(zip(plain, with_bn, strict=True))
        cells = [
            collected.mean_text(plain, digits),
            collected.mean_text(with_bn, digits),
            f"{collected.ratio_text([a / b for a, b in pairs])} times"
            if ratio
            else collected.mean_text([a - b for a, b in pairs], digits, "+"),
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |")

    steps = sorted({row.step for row in record.rows["relu"] if "shift" in row.numbers})
    places: list[tuple[str, dict[str, Any]]] = [
        *((f", {name}", {"layer": layer}) for layer, name in enumerate(record.layers, start=1)),
        *((f", step {step}", {"step": step}) for step in steps),
    ]
    for nonlinearity, kind in NONLINEARITIES.items():
        rows = record.rows[nonlinearity]
        for measure in ("shift", "gradient_shift"):
            for place, where in [("", {}), *(places if nonlinearity == "relu" else [])]:
                name = f"{kind}: {measure.replace('_', ' ')}{place} (%)"
                line(name, *percent(of_both(rows, measure, **where)), digits=2, ratio=True)
        cosines = of_both(rows, "gradient_cosine", fmean)
        line(f"{kind}: cosine of the two gradients", *cosines, digits=4, ratio=False)
    for step in (0, END):
        shares = of_both(record.rows["sigmoid"], "saturated", fmean, step=step)
        line(f"sigmoid: saturated at step {step} (%)", *percent(shares), digits=3, ratio=False)
    for nonlinearity, kind in NONLINEARITIES.items():
        values = percent([record.accuracy[network, nonlinearity] for network in NETWORKS])
        line(f"{kind}: accuracy at step {END} (%)", *values, digits=1, ratio=False)
    return collected.document(lines, *_notes(record))


def _saturation_table(record: Record) -> str:
    lines = [
        f"| saturated sigmoids (%) | {' | '.join(style.LABEL[network] for network in SIGMOIDS)} "
        f"| {style.LABEL[SIGMOIDS[-1]]} minus {style.LABEL[SIGMOIDS[0]]} |",
        "|---|---|---|---|---|",
    ]

    def shares(**where: Any) -> list[list[float]]:
        rows = record.rows["sigmoid"]
        return percent([by_seed(rows, "saturated", network=network, **where) for network in SIGMOIDS])

    def line(name: str, values: Sequence[Sequence[float]]) -> None:
        more = [last - first for first, last in zip(values[0], values[-1], strict=True)]
        cells = [collected.mean_text(seeds, 3) for seeds in values]
        lines.append(f"| {name} | {' | '.join(cells)} | {collected.mean_text(more, 3, '+')} |")

    steps = sorted({row.step for row in record.rows["sigmoid"] if "saturated" in row.numbers})
    for step in steps:
        line(f"step {step}", shares(step=step))
    line(
        f"from step 0 to {END}", [_less(*both) for both in zip(shares(step=END), shares(step=0), strict=True)]
    )
    for layer, name in enumerate(record.layers, start=1):
        line(f"step {END}, {name}", shares(step=END, layer=layer))
    accuracy = percent([record.accuracy[network, "sigmoid"] for network in SIGMOIDS])
    n = len(record.accuracy[SIGMOIDS[-1], "sigmoid"])
    return collected.document(
        lines,
        f"{networks.trained(record.document['config'])} A sigmoid's output is saturated if the sigmoid's "
        "derivative there is below a tenth of its maximum. The table has the share of the outputs of four "
        f"layers, in training mode. {collected.means(f'n = {n} seeds')} Differences are computed seed by "
        "seed.",
        f"The accuracies at step {END} are {_listed(accuracy)}.",
        collected.origin(record.document),
    )


def _listed(accuracy: Sequence[Sequence[float]]) -> str:
    named = [
        f"{collected.mean_text(seeds, 1)}% ({style.LABEL[network]})"
        for network, seeds in zip(SIGMOIDS, accuracy, strict=True)
    ]
    return f"{', '.join(named[:-1])} and {named[-1]}"


def _less(values: Sequence[float], others: Sequence[float]) -> list[float]:
    return [one - other for one, other in zip(values, others, strict=True)]


def percent(values: Sequence[Sequence[float]]) -> list[list[float]]:
    return [[100 * value for value in seeds] for seeds in values]


def _notes(record: Record) -> tuple[str | tuple[str, ...], ...]:
    config = record.document["config"]
    n = len(record.accuracy[NETWORKS[0], "relu"])
    steps = len({row.step for row in record.rows["relu"] if "shift" in row.numbers})
    return (
        '"Without BN" is Inception and "with BN" is BN-Baseline, at the same learning rate, with ReLUs '
        f"and with sigmoids. {networks.trained(config)}",
        f"{collected.means(f'n = {n} seeds')} The last column is without BN over with BN, or without minus "
        "with, computed seed by seed. Ratios have their geometric mean and, in parentheses, its 95% "
        "interval.",
        (
            f"**Shift** and **gradient shift** are measured as in the MLP, over {config['probe.examples']} "
            "training images. Where a row names no layer or step, they are geometric means over four layers "
            f"and {steps} steps.",
            "**Saturated** is the share of the sigmoids' outputs at which the derivative is below a tenth "
            "of its maximum.",
            f"**Accuracy** is that on {config['data.validation']:,} held-out training images, with BN by "
            "Algorithm 2's statistics.",
        ),
        collected.origin(record.document),
    )
