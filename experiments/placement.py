"""Where the normalization goes: before the nonlinearity as in section 3.2, after it, or on the layer's input.

    python scripts/reproduce.py placement     the MLP with BN at 3 places and without it, 80 runs
                                              (configs/sweep/placement.yaml, _relu.yaml, _without.yaml)

The paper normalizes Wu + b and not the layer's input u, because u "is likely the output of another
nonlinearity", whose distribution changes its shape, while Wu + b "is more likely to have a symmetric,
non-sparse distribution, that is 'more Gaussian'" (section 3.2). Section 5 says that standardizing after the
nonlinearity makes activations sparser, and that before it distributions are more stable. Measured here:
how far the inputs to the nonlinearities move while the network trains, and the shapes of three distributions
in each hidden layer at the end: of Wu + b, of the input to the nonlinearity, of what the layer puts out.
Measured numbers, with n: results/placement/table.md and shapes.md.

Decisions, made before the runs. Each network trains for 2,000 mini-batches of 60. With sigmoids it does so at
learning rates 0.1, 0.5 and 2, and each place's best is chosen on 10,000 held-out training examples. The same
rate is 0.5 with sigmoids, at which the plain network trains within these steps, and 0.1 with ReLUs. BN on the
input normalizes u of each hidden layer, the image included; the classifier has none. BN after the
nonlinearity normalizes what each hidden layer puts out, the last one included. In both Wu + b keeps its bias.

Movement is Figure 1's: max - min, from step 0, of a unit's 15th, 50th and 85th percentile, the mean of the
three and of the layer's units. Its unit is that of the input to the nonlinearity, or, so that no scale of the
weights decides, the unit's own spread (the distance of its 15th and 85th percentile, mean over the training).
A verdict needs both. Claim 29 is of the mean over the hidden layers, with sigmoids, at the same rate and each
at its best; claim 75 of each hidden layer, with sigmoids and with ReLUs, at the same rate.

Skewness, kurtosis and sparsity are those of `bn.observe.shapes`, unit by unit, at the last step and the same
rate. Claim 30 compares Wu + b with the layer's u, which is what the layer before puts out, in the second and the
third layer, of the network without BN and of that with BN before the nonlinearity. Claims 73 and 74 are of
ReLU networks and of the mean over the hidden layers.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bn.config import MlpModel
from bn.run.directory import RunDirectory, read_lines
from experiments import collected

SWEEPS = {"placement": (), "placement_relu": (), "placement_without": ()}
MEASURES = ("skewness", "kurtosis", "sparsity")
WHERE = ("affine", "input", "output")
CHANCE = 0.1
SAME_RATE = {"sigmoid": 0.5, "relu": 0.1}


def collect(runs: Sequence[RunDirectory], folder: Path) -> None:
    """final.csv (one row a run), movement.csv and shapes.csv (one row a layer) and runs.json.

    A run that diverged is in final.csv alone.
    """
    collected.check_all_ended(runs)  # a choice is among all of them, and seeds are compared one by one
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
    """Of a layer's percentiles, `path` (T, (low, median, high), units): absolute, and in units' spreads."""
    moved = (path.max(0) - path.min(0)).mean(0)  # (units,)
    spread = (path[:, -1] - path[:, 0]).mean(0)
    return float(moved.mean()), float((moved / np.maximum(spread, 1e-12)).mean())


def draw(folder: Path, out: Path) -> None:
    """table.md."""
    raise NotImplementedError
