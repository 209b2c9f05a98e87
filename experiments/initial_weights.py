"""Learning rate and initial weights in Inception, with and without BN, early in the training (section 1).

    python scripts/reproduce.py initial_weights     2 networks x 3 scales x 3 rates x 3 seeds, 400 steps each
                                                    (configs/sweep/initial_weights.yaml)

The paper says that BN makes a network less sensitive to its initialization and allows higher learning rates.
The fair comparison tests both in the MLP, and `rate_tolerance` tests learning rates in Inception. Here
Inception and BN-Baseline start from He's initial weights times 0.5, 1 and 2, and train at 1, 3 and 10 times
the base's learning rate. Measured numbers: results/initial_weights/table.md.

Deviations and assumptions, decided before the runs: as in the rule of claim 5, the range over the three
scales is that of the mean accuracy at each scale's best learning rate; BN makes the network less sensitive if
its range is less than half of the other's, and partly so if it is smaller. Accuracy is measured after 400
steps, with BN by Algorithm 2's statistics; a run that diverged counts as chance. On 2,000 images an accuracy
has a standard error of one point, and 400 steps are only the beginning of a training, so the ledger does not
use these numbers. The first seed's result was known when the other two were added. A scale multiplies every
convolution, so without BN it enters once per layer on the way; the classifier's initial weights are
unchanged.
"""

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from bn.config import InceptionModel
from bn.run.directory import RunDirectory, read_lines
from experiments import archived, collected, networks, style

SWEEPS = {"initial_weights": ()}
NETWORKS = ("inception", "bn_baseline")
WHO = ("network", "init_scale", "factor", "seed")
# (network, scale, factor): the accuracy of each seed; None if it diverged
Grid = dict[tuple[str, float, float], list[float | None]]


def collect(runs: Sequence[RunDirectory], folder: Path) -> None:
    """Write final.csv (one row per run) and runs.json."""
    entries = archived.gather(runs, folder)
    header = (*WHO, "state", "step", "accuracy")
    archived.write_rows(folder / "final.csv", header, runs, _who, lambda run: [(*_who(run), *_end(run))])
    collected.write_entries(folder / "runs.json", entries)


def _who(run: RunDirectory) -> tuple[str, float, float, int]:
    assert isinstance(run.config.model, InceptionModel)
    return (
        run.config.experiment, run.config.model.init_scale, run.config.optim.lr_factor, run.config.seed,
    )  # fmt: skip


def _end(run: RunDirectory) -> tuple[Any, ...]:
    state, step = run.status["state"], run.status["step"]
    if state == "diverged":
        return state, step, ""
    last = read_lines(run.path / "metrics.jsonl")[-1]
    return state, step, last.get("validation/accuracy_population", last["validation/accuracy"])


def read(folder: Path) -> Grid:
    grid: Grid = {}
    for row in collected.read_csv(folder / "final.csv"):
        key = row["network"], float(row["init_scale"]), float(row["factor"])
        grid.setdefault(key, []).append(float(row["accuracy"]) if row["accuracy"] else None)
    return grid


def best_range(grid: Grid, network: str, chance: float) -> float:
    """The range, over the scales, of the mean accuracy at each scale's best learning rate."""
    best: dict[float, float] = {}
    for (name, scale, _), accuracies in grid.items():
        if name == network:
            mean = fmean(chance if accuracy is None else accuracy for accuracy in accuracies)
            best[scale] = max(best.get(scale, 0), mean)
    return max(best.values()) - min(best.values())


def _cell(accuracies: Sequence[float | None]) -> str:
    """The mean of the seeds that did not diverge, in percent."""
    ended = [100 * accuracy for accuracy in accuracies if accuracy is not None]
    if not ended:
        return "diverged"
    lost = len(accuracies) - len(ended)
    return collected.mean_text(ended, 1) + f" ({lost} diverged)" * (lost > 0)


def draw(folder: Path, out: Path) -> None:
    """Write table.md."""
    grid, document = read(folder), collected.read_json(folder / "runs.json")
    config = document["config"]
    scales = sorted({scale for _, scale, _ in grid})
    factors = sorted({factor for _, _, factor in grid})
    lines = [
        "| network | initial weights, times He's | "
        + " | ".join(f"learning rate x {factor:g}" for factor in factors) + " |",
        "|---|--:|" + "--:|" * len(factors),
    ]  # fmt: skip
    for network in NETWORKS:
        for scale in scales:
            cells = [_cell(grid[network, scale, factor]) for factor in factors]
            lines.append(f"| {style.LABEL[network]} | {scale:g} | {' | '.join(cells)} |")
    ranges = [100 * best_range(grid, network, 1 / config["data.classes"]) for network in NETWORKS]
    text = collected.document(
        lines,
        f"{networks.trained(config)} The table has their accuracy (%) on {config['data.validation']:,} "
        "held-out training images, with BN by Algorithm 2's statistics. "
        f"{collected.means(f'n = {max(map(len, grid.values()))} seeds')} Learning rates are multiples of "
        f"the base's, {config['optim.lr']:g}.",
        "At the best learning rate of each scale of the initial weights, the mean accuracies span "
        f"{ranges[0]:.1f} points without BN and {ranges[1]:.1f} with.",
        collected.origin(document),
    )
    (out / "table.md").write_text(text)
