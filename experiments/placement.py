"""The place of normalization: before the nonlinearity as in section 3.2, after it, or on the layer's input.

    python scripts/reproduce.py placement     the MLP with BN at 3 places and without it, 80 runs
                                              (configs/sweep/placement.yaml, _relu.yaml, _without.yaml)

The paper normalizes Wu + b and not the layer's input u, because u "is likely the output of another
nonlinearity", whose distribution changes its shape, while Wu + b "is more likely to have a symmetric,
non-sparse distribution, that is 'more Gaussian'" (section 3.2). Section 5 says that standardizing after the
nonlinearity makes activations sparser, and that before it distributions are more stable. Measured here:
how far the inputs to the nonlinearities move while the network trains, and the shapes of three distributions
in each hidden layer at the end: Wu + b, the input to the nonlinearity, and the layer's output. Measured
numbers, with n: results/placement/table.md and shapes.md.

Decisions, made before the runs. Each network trains for 2,000 mini-batches of 60. With sigmoids it does so at
learning rates 0.1, 0.5 and 2, and each place's best is chosen on 10,000 held-out training examples. "The same
rate" is 0.5 with sigmoids, where the plain network trains within these steps, and 0.1 with ReLUs. BN on the
input normalizes u of each hidden layer, including the image, but not the classifier's input. BN after the
nonlinearity normalizes the output of each hidden layer, including the last. In both, Wu + b keeps its bias.

Movement is Figure 1's: max - min, from step 0, of a unit's 15th, 50th and 85th percentiles, averaged over the
three and the layer's units. It is given in units of the input to the nonlinearity and, to be independent of
the scale of the weights, in units of the unit's own spread (the distance between its 15th and 85th
percentiles, mean over the training). A verdict needs both. Claim 29 is about the mean over the hidden layers,
with sigmoids, at the same rate and each at its best; claim 75 about each hidden layer, with sigmoids and with
ReLUs, at the same rate.

Skewness, kurtosis and sparsity are those of `bn.observe.shapes`, per unit, at the last step and the same
rate. Claim 30 compares Wu + b with the layer's u, the output of the previous layer, in the second and third
layers, of the network without BN and the one with BN before the nonlinearity. Claims 73 and 74 are about ReLU
networks and the mean over the hidden layers.
"""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

import numpy as np
from matplotlib.ticker import MaxNLocator

from bn.config import MlpModel
from bn.run.directory import RunDirectory, read_lines
from experiments import collected, style

SWEEPS = {"placement": (), "placement_relu": (), "placement_without": ()}
MEASURES = ("skewness", "kurtosis", "sparsity")
WHERE = ("affine", "input", "output")
OF = {"affine": "Wu + b", "input": "input to the nonlinearity", "output": "output"}
LABEL = {
    "none": "without BN",
    "before": "before the nonlinearity",
    "after": "after the nonlinearity",
    "input": "on the layer's input",
}
LOOK = {
    "none": {**style.WITHOUT, "marker": "o"},
    "before": {**style.WITH, "marker": "s"},
    "after": {"color": "#009E73", "linestyle": (0, (6, 1.5, 1, 1.5)), "marker": "^"},
    "input": {"color": "#CC79A7", "linestyle": (0, (1, 1.2)), "marker": "D"},
}
CHANCE = 0.1
SAME_RATE = {"sigmoid": 0.5, "relu": 0.1}


def collect(runs: Sequence[RunDirectory], folder: Path) -> None:
    """Write final.csv (one row per run), movement.csv and shapes.csv (one row per layer) and runs.json.

    A run that diverged is only in final.csv.
    """
    collected.check_all_ended(runs)  # the choice needs all of them, and seeds are compared pairwise
    runs = collected.ended(runs)
    final, movements, shapes = [], [], []
    for run in runs:
        model = run.config.model
        assert isinstance(model, MlpModel)
        place = "none" if model.norm == "none" else model.norm_place
        who = (place, model.nonlinearity, run.config.optim.lr, run.config.seed)
        last = read_lines(run.path / "metrics.jsonl")[-1]
        done = run.status["state"] == "done"
        accuracies = (
            last.get(f"{split}/accuracy_population", last.get(f"{split}/accuracy"))
            for split in ("validation", "test")
        )
        final.append((*who, run.status["state"], *(accuracies if done else (CHANCE, CHANCE))))
        if not done:
            continue
        record = collected.observed(run)
        for layer in range(1, len(model.hidden) + 1):
            values = (f"{value:.5g}" for value in movement(record[f"layer{layer}"]))
            movements.append((*who, layer, *values))
            for where in WHERE:
                found = (last[f"observe/{measure}/layer{layer}/{where}"] for measure in MEASURES)
                shapes.append((*who, layer, where, *(f"{value:.5g}" for value in found)))
    names = ("place", "nonlinearity", "lr", "seed")
    header = (*names, "state", "validation_accuracy", "test_accuracy")
    collected.write_csv(folder / "final.csv", header, final)
    collected.write_csv(folder / "movement.csv", (*names, "layer", "absolute", "in_spreads"), movements)
    collected.write_csv(folder / "shapes.csv", (*names, "layer", "where", *MEASURES), shapes)
    collected.write_provenance(folder / "runs.json", runs)


def movement(path: np.ndarray) -> tuple[float, float]:
    """The movement of a layer's percentiles, absolute and in units of the spread.

    `path`: (T, (low, median, high), units).
    """
    moved = (path.max(0) - path.min(0)).mean(0)  # (units,)
    spread = (path[:, -1] - path[:, 0]).mean(0)
    return float(moved.mean()), float((moved / np.maximum(spread, 1e-12)).mean())


class Moved(NamedTuple):
    """The movement of the inputs to a layer's nonlinearities, by seed."""

    absolute: list[float]
    in_spreads: list[float]


class Shape(NamedTuple):
    """The measures of one distribution, by seed."""

    skewness: list[float]
    kurtosis: list[float]
    sparsity: list[float]


Network = tuple[str, str, float]  # place, nonlinearity, learning rate


def read_movements(folder: Path) -> dict[Network, dict[int, Moved]]:
    """Movements by network and layer."""
    found: dict[Network, dict[int, Moved]] = {}
    for row in collected.read_csv(folder / "movement.csv"):
        moved = found.setdefault(_network(row), {}).setdefault(int(row["layer"]), Moved([], []))
        moved.absolute.append(float(row["absolute"]))
        moved.in_spreads.append(float(row["in_spreads"]))
    return found


def read_shapes(folder: Path) -> dict[Network, dict[tuple[int, str], Shape]]:
    """Shapes by network, and by layer and distribution (one of WHERE)."""
    found: dict[Network, dict[tuple[int, str], Shape]] = {}
    for row in collected.read_csv(folder / "shapes.csv"):
        where = int(row["layer"]), row["where"]
        shape = found.setdefault(_network(row), {}).setdefault(where, Shape([], [], []))
        for measure, values in zip(MEASURES, shape, strict=True):
            values.append(float(row[measure]))
    return found


def read_accuracies(folder: Path) -> dict[Network, tuple[list[float], list[float]]]:
    """Accuracies of the seeds on held-out and on test examples; with BN by Algorithm 2's statistics."""
    found: dict[Network, tuple[list[float], list[float]]] = {}
    for row in collected.read_csv(folder / "final.csv"):
        validation, test = found.setdefault(_network(row), ([], []))
        validation.append(float(row["validation_accuracy"]))
        test.append(float(row["test_accuracy"]))
    return found


def _network(row: Mapping[str, str]) -> Network:
    return row["place"], row["nonlinearity"], float(row["lr"])


def best_rate(folder: Path, place: str) -> float:
    """The learning rate with the highest mean held-out accuracy, for BN in this place with sigmoids."""
    accuracies = read_accuracies(folder)
    rates = [lr for where, nonlinearity, lr in accuracies if (where, nonlinearity) == (place, "sigmoid")]
    return max(rates, key=lambda lr: fmean(accuracies[place, "sigmoid", lr][0]))


def over_layers(layers: Iterable[Sequence[float]]) -> list[float]:
    """The mean over the layers, seed by seed."""
    return [fmean(values) for values in zip(*layers, strict=True)]


def draw(folder: Path, out: Path) -> None:
    """Write placement (png, svg, pdf), table.md (movement and accuracy) and shapes.md."""
    document = collected.read_json(folder / "runs.json")
    _draw(read_movements(folder), out / "placement")
    (out / "table.md").write_text(_table(folder, document))
    (out / "shapes.md").write_text(_shapes_table(read_shapes(folder), document))


def _draw(movements: Mapping[Network, Mapping[int, Moved]], stem: Path) -> None:
    fig, axes = style.figure(8.4, 3.0, columns=2)
    for axis, (nonlinearity, rate) in zip(axes, SAME_RATE.items(), strict=True):
        for i, place in enumerate(LABEL):
            layers = movements[place, nonlinearity, rate]
            values = np.array([layers[layer].in_spreads for layer in sorted(layers)])
            at = np.arange(1, len(values) + 1) + 0.09 * (i - 1.5)
            axis.errorbar(
                at, values.mean(1), [values.mean(1) - values.min(1), values.max(1) - values.mean(1)],
                label=LABEL[place], ms=5, capsize=2, lw=1.2, **LOOK[place],
            )  # fmt: skip
        name = {"sigmoid": "sigmoid", "relu": "ReLU"}[nonlinearity]
        axis.set(xlabel="hidden layer", title=f"{name}, learning rate {rate:g}", ylim=(0, None))
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes[0].set_ylabel("movement of the inputs to the\nnonlinearities, in units of their spread")
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(LABEL))
    style.save(fig, stem)


def _table(folder: Path, document: Mapping[str, Any]) -> str:
    movements, accuracies = read_movements(folder), read_accuracies(folder)
    lines = [
        "| nonlinearity | BN | learning rate | movement: layer 1 | layer 2 | layer 3 "
        "| movement in spreads: layer 1 | layer 2 | layer 3 | test accuracy (%) |",
        "|---|---|--:|" + "---|" * 7,
    ]
    seeds = []
    for nonlinearity, place in itertools.product(SAME_RATE, LABEL):
        for network in sorted(accuracies):
            if network[:2] != (place, nonlinearity):
                continue
            test = accuracies[network][1]
            seeds.append(len(test))
            layers = movements.get(network, {})
            moved = [layers[layer].absolute for layer in sorted(layers)]
            moved += [layers[layer].in_spreads for layer in sorted(layers)]
            cells = [collected.mean_text(values, 2) for values in moved] or ["-"] * 6
            chosen = place != "none" and nonlinearity == "sigmoid" and network[2] == best_rate(folder, place)
            rate = f"{network[2]:g}{' (best)' * chosen}"
            accuracy = collected.summary([100 * value for value in test], 5)
            lines.append(f"| {nonlinearity} | {LABEL[place]} | {rate} | {' | '.join(cells)} | {accuracy} |")
    config = document["config"]
    return collected.document(
        lines,
        f"The table shows the MLP after {config['steps']:,} mini-batches of {config['optim.batch']}. "
        f"{collected.means(collected.seeds_text(seeds))}",
        (
            "**Movement** is the maximum minus the minimum, from step 0, of the 15th, 50th and 85th "
            "percentiles of a unit's input to its nonlinearity, averaged over the three and over the "
            "layer's units.",
            "**Movement in spreads** is this divided by the mean distance between the 15th and 85th "
            "percentiles.",
            "**Test accuracy** with BN is that by Algorithm 2's statistics.",
            "**(best)** marks the best of the learning rates here, on 10,000 held-out training examples.",
        ),
        collected.origin(document),
    )


def _shapes_table(
    shapes: Mapping[Network, Mapping[tuple[int, str], Shape]], document: Mapping[str, Any]
) -> str:
    lines = [
        "| nonlinearity | BN | layer | distribution | skewness | excess kurtosis | near zero (%) |",
        "|---|---|--:|---|---|---|---|",
    ]
    for (nonlinearity, rate), place in itertools.product(SAME_RATE.items(), LABEL):
        for (layer, where), shape in shapes[place, nonlinearity, rate].items():
            if where == "input" and place != "before":
                continue  # it is Wu + b
            cells = [collected.mean_text(values, 2) for values in shape[:2]]
            near_zero = collected.mean_text([100 * value for value in shape.sparsity], 1)
            what = f"{nonlinearity} | {LABEL[place]} | {layer} | {OF[where]}"
            lines.append(f"| {what} | {' | '.join(cells)} | {near_zero} |")
    rates = " and ".join(f"{rate:g} ({name})" for name, rate in SAME_RATE.items())
    return collected.document(
        lines,
        f"The table shows the MLP after {document['config']['steps']:,} mini-batches, at learning rates "
        f"{rates}. The numbers are means over the layer's units: the magnitude of the skewness and of the "
        "excess kurtosis, which are both 0 for a Gaussian, and the share of values below 1% of the unit's "
        "largest magnitude. ± is the half-width of the 95% confidence interval over the seeds. A layer's u "
        "is the output of the previous layer.",
    )
