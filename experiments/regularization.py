"""Batch normalization as a regularizer (section 3.4): the gain from the noise of its statistics, and whether
it can replace dropout.

    python scripts/reproduce.py regularization     5 networks x 3 numbers of examples x 5 seeds
                                                   (configs/sweep/regularization.yaml, _population.yaml)

A training example is normalized together with the others of its mini-batch, so the network no longer gives
"deterministic values for a given training example", and the paper "found this effect to be advantageous to
the generalization of the network". Here the MLP with BN trains on 1,000, 5,000 and 50,000
examples with this effect and without it, normalized by the statistics of the population. The MLP also trains
with and without BN, with and without dropout. Measured numbers, with n: results/regularization/table.md.

Decisions, made before the runs. Each network trains for 3,000 mini-batches of 60 at learning rate 0.5, where
both the plain network and the one with BN train well (the fair comparison). The examples are the first ones
of the training set. Dropout drops 20% of each hidden layer's outputs. The population's statistics are
approximated by moving averages (`bn.norm.population`): y is computed with the averages over the previous
mini-batches, about 1,100 examples, so that an output does not depend on the rest of its mini-batch. The
gradient is BN's, as in batch renormalization without its limits: the ratio of the statistics counts as a
constant. If it ignored the normalization, section 2's runaway would dominate instead of the noise.

Test accuracy is that of the last step, with BN by Algorithm 2's statistics. The gap is training accuracy, on
all training examples, minus test accuracy, both with moving averages. Claim 44 uses BN minus BN with dropout
at each number of examples, and BN-x5 minus BN-x5 with dropout from the ablation.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from bn.config import MlpModel, MnistData
from bn.run.directory import RunDirectory, read_lines
from experiments import collected

SWEEPS = {"regularization": (), "regularization_population": ()}
CHANCE = 0.1
LABEL = {
    "plain": "without BN",
    "dropout": "without BN, with dropout",
    "bn": "with BN",
    "bn_dropout": "with BN and dropout",
    "population": "with BN, statistics of the population",
}
COMPARED = {
    "the mini-batch's statistics instead of the population's": ("bn", "population"),
    "BN without dropout instead of with it": ("bn", "bn_dropout"),
    "BN instead of dropout": ("bn", "dropout"),
}
HEADER = (
    "network", "examples", "seed", "state", "test_accuracy", "test_accuracy_moving", "training_accuracy",
)  # fmt: skip


def collect(runs: Sequence[RunDirectory], folder: Path) -> None:
    """Write final.csv (one row per run) and runs.json. A run that diverged counts as chance."""
    collected.check_all_ended(runs)  # seeds are compared pairwise
    runs = collected.ended(runs)
    rows = []
    for run in runs:
        config, model = run.config, run.config.model
        assert isinstance(model, MlpModel)
        assert isinstance(config.data, MnistData)
        last = read_lines(run.path / "metrics.jsonl")[-1]
        moving = last.get("test/accuracy", CHANCE)
        accuracies = (
            (last.get("test/accuracy_population", moving), moving, last["observe/training_accuracy"])
            if run.status["state"] == "done"
            else (CHANCE, CHANCE, CHANCE)
        )
        rows.append((
            network_of(model), config.data.examples, config.seed, run.status["state"], *accuracies,
        ))  # fmt: skip
    collected.write_csv(folder / "final.csv", HEADER, rows)
    collected.write_provenance(folder / "runs.json", runs)


def network_of(model: MlpModel) -> str:
    """plain, dropout, bn, bn_dropout or population."""
    if model.norm == "population":
        return "population"
    parts = ["bn"] * (model.norm == "batch") + ["dropout"] * (model.dropout > 0)
    return "_".join(parts) or "plain"


class Seeds(NamedTuple):
    """Accuracies by seed, in points."""

    test: list[float]
    gap: list[float]  # training accuracy minus test accuracy


def read(folder: Path) -> dict[str, dict[int, Seeds]]:
    """Accuracies by network and number of training examples."""
    found: dict[str, dict[int, Seeds]] = {}
    for row in collected.read_csv(folder / "final.csv"):
        seeds = found.setdefault(row["network"], {}).setdefault(int(row["examples"]), Seeds([], []))
        seeds.test.append(100 * float(row["test_accuracy"]))
        seeds.gap.append(100 * (float(row["training_accuracy"]) - float(row["test_accuracy_moving"])))
    return found


def effect(one: Seeds, other: Seeds) -> list[float]:
    """Test accuracy of the first minus that of the second, by seed."""
    return [a - b for a, b in zip(one.test, other.test, strict=True)]


def draw(folder: Path, out: Path) -> None:
    """Write table.md."""
    document = collected.read_json(folder / "runs.json")
    (out / "table.md").write_text(_table(read(folder), document))


def _table(found: Mapping[str, Mapping[int, Seeds]], document: Mapping[str, Any]) -> str:
    sizes = sorted(found["bn"])
    columns = [f"{size:,} examples: test accuracy (%) | gap (points)" for size in sizes]
    lines = [f"| network | {' | '.join(columns)} |", "|---|" + "---|---|" * len(sizes)]
    for name, label in LABEL.items():
        cells = [collected.mean_text(part, 2) for size in sizes for part in found[name][size]]
        lines.append(f"| {label} | {' | '.join(cells)} |")
    for label, (one, other) in COMPARED.items():
        differences = [
            collected.mean_text(effect(found[one][size], found[other][size]), 2, "+") for size in sizes
        ]
        lines.append(f"| **{label}** (points) | {' | '.join(f'**{text}** | ' for text in differences)} |")
    config = document["config"]
    n = collected.seeds_text(len(seeds.test) for groups in found.values() for seeds in groups.values())
    return collected.document(
        lines,
        f"The table shows the MLP after {config['steps']:,} mini-batches of {config['optim.batch']}, at "
        f"learning rate {config['optim.lr']:g}. {collected.means(n)} Differences are computed seed by seed.",
        (
            "**Test accuracy** with BN is that by Algorithm 2's statistics.",
            "**Gap** is training accuracy minus test accuracy, both by moving averages.",
            "**Dropout** drops 20% of each hidden layer's outputs.",
            "**Statistics of the population** means that the network is normalized by the moving averages in "
            "training too, with BN's gradient.",
        ),
        collected.origin(document),
    )
