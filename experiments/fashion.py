"""Figure 1 on another data set: Fashion-MNIST (Xiao, Rasul & Vollgraf 2017) in the place of MNIST.

    python scripts/reproduce.py fashion     2 networks x 2 rates x 5 seeds x 50,000 steps
                                            (configs/sweep/fashion.yaml)

Is "faster" and "ends higher" (section 4.1) true of other data? The same networks train on ten kinds of
clothes, in the same number and size of images, binary as MNIST's are here, at the rate of Figure 1 and at the
rate that is best on MNIST (`fair_comparison`). The loss of the training tells overfitting from slow training.
No rule of the ledger depends on it. Measured numbers, with n: results/fashion/table.md.

Decisions: neither rate is chosen on this data set. A threshold of half the gray range makes the images
binary, which loses more of clothes than of digits, so that the accuracies are lower than those usually
reported. Accuracies are with moving averages, so that each evaluation compares; at the end Algorithm 2's is
shown as well.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bn.errors import UserError
from bn.run.directory import RunDirectory, read_lines
from experiments import collected, style

SWEEPS = {"fashion": ()}
NETWORKS = ("mnist_baseline", "mnist_bn")
LEVEL = 0.8  # of test accuracy, for the steps to it
LAST = 2_500  # steps at the end over which the loss of the training is averaged
HEADER = ("network", "rate", "seed", "step", "test_accuracy", "test_accuracy_population", "train_loss")

Key = tuple[str, float]  # network and rate


class Seeds(NamedTuple):
    """The seeds of one network at one rate."""

    steps: np.ndarray  # (T,)
    accuracy: np.ndarray  # (seeds, T), moving averages
    final: list[float]  # Algorithm 2's; without BN the last of `accuracy`
    loss: list[float]  # of the training, mean of the last mini-batches


def collect(runs: Sequence[RunDirectory], folder: Path) -> None:
    """accuracy.csv (one row an evaluation) and runs.json.

    `train_loss` and `test_accuracy_population` are those of a run's last row.
    """
    collected.check_all_ended(runs)  # its seeds are compared one by one
    rows = []
    for run in collected.ended(runs):
        if run.status["state"] != "done":
            raise UserError(f"{run.name}: {run.status['state']}: the figure needs complete runs")
        lines = read_lines(run.path / "metrics.jsonl")
        end = lines[-1]["step"]
        losses = [x["train/loss"] for x in lines if x["step"] > end - LAST and "train/loss" in x]
        for line in lines:
            if "test/accuracy" in line:
                last = line["step"] == end
                rows.append((
                    run.config.experiment, f"{run.config.optim.lr:g}", run.config.seed, line["step"],
                    line["test/accuracy"], line.get("test/accuracy_population", ""),
                    f"{sum(losses) / len(losses):.6f}" if last else "",
                ))  # fmt: skip
    collected.write_csv(folder / "accuracy.csv", HEADER, rows)
    collected.write_provenance(folder / "runs.json", runs)


def read(folder: Path) -> dict[Key, Seeds]:
    rows = collected.read_csv(folder / "accuracy.csv")
    found: dict[Key, Seeds] = {}
    for key in dict.fromkeys((row["network"], float(row["rate"])) for row in rows):
        own = [row for row in rows if (row["network"], float(row["rate"])) == key]
        steps = sorted({int(row["step"]) for row in own})
        accuracy = np.array([float(row["test_accuracy"]) for row in own]).reshape(-1, len(steps))
        ends = [row for row in own if int(row["step"]) == steps[-1]]
        final = [float(row["test_accuracy_population"] or row["test_accuracy"]) for row in ends]
        found[key] = Seeds(np.array(steps), accuracy, final, [float(row["train_loss"]) for row in ends])
    return found


def draw(folder: Path, out: Path) -> None:
    """fashion (png, svg, pdf) and table.md."""
    found = read(folder)
    _draw(found, out / "fashion")
    (out / "table.md").write_text(_table(found))


def _rates(found: dict[Key, Seeds]) -> list[float]:
    return sorted({rate for _, rate in found})


def _draw(found: dict[Key, Seeds], stem: Path) -> None:
    rates = _rates(found)
    fig, axes = style.figure(7.2, 3.0, columns=len(rates), sharey=True)
    for axis, rate, letter in zip(axes, rates, "ab", strict=True):
        for network in NETWORKS:
            seeds, look = found[network, rate], style.STYLE[network]
            label = f"{style.LABEL[network]} (n = {len(seeds.accuracy)})"
            axis.plot(seeds.steps, 100 * seeds.accuracy.mean(0), label=label, **look)
            low, high = 100 * seeds.accuracy.min(0), 100 * seeds.accuracy.max(0)
            axis.fill_between(seeds.steps, low, high, color=look["color"], alpha=0.25, lw=0)
        axis.set(ylim=(70, 86), xlabel="training step", title=f"({letter}) rate {rate:g}")
        axis.set_xlim(0, found[NETWORKS[0], rate].steps[-1])
        style.thousands(axis.xaxis)
    axes[0].set_ylabel("test accuracy (%)")
    axes[-1].legend(loc="lower right")
    style.save(fig, stem)


def _table(found: dict[Key, Seeds]) -> str:
    lines = [
        "| Fashion-MNIST | rate | without BN | with BN | with BN against without, the same seeds |",
        "|---|--:|---|---|---|",
    ]

    def reached(seeds: Seeds) -> list[float] | None:
        if seeds.accuracy.max(1).min() < LEVEL:
            return None
        return [collected.crossing(seeds.steps, path, LEVEL) for path in seeds.accuracy]

    for rate in _rates(found):
        plain, with_bn = (found[network, rate] for network in NETWORKS)
        steps = [reached(seeds) for seeds in (plain, with_bn)]
        if steps[0] and steps[1]:
            ratios = [one / other for one, other in zip(*steps, strict=True)]
            speedup = f"{collected.ratio_text(ratios)} times fewer"
        else:
            speedup = "-"
        shown = ["never, in some seeds" if each is None else collected.mean_text(each, 0) for each in steps]
        lines.append(
            f"| steps to {100 * LEVEL:g}% test accuracy | {rate:g} | {' | '.join(shown)} | {speedup} |"
        )
        for name, of, digits, sign in (
            ("highest test accuracy (%)", lambda s: (100 * s.accuracy.max(1)).tolist(), 2, "+"),
            ("test accuracy at the end (%)", lambda s: (100 * s.accuracy[:, -1]).tolist(), 2, "+"),
            ("the same, Algorithm 2 (%)", lambda s: [100 * value for value in s.final], 2, "+"),
            (f"training loss, last {LAST:,} steps (nats)", lambda s: s.loss, 3, "+"),
        ):
            pair = [of(seeds) for seeds in (plain, with_bn)]
            gain = [b - a for a, b in zip(*pair, strict=True)]
            cells = [*(collected.mean_text(v, digits) for v in pair), collected.mean_text(gain, digits, sign)]
            lines.append(f"| {name} | {rate:g} | {' | '.join(cells)} |")
    n = collected.seeds_text(len(seeds.final) for seeds in found.values())
    end = next(iter(found.values())).steps[-1]
    note = (
        f"The networks of Figure 1 on Fashion-MNIST, binary at half the gray range, {end:,} mini-batches of "
        f"60. Mean ± half-width of the 95% confidence interval, {n}. Accuracies by moving averages, at "
        "evaluations 2,500 steps apart after the first 4,000. Times fewer: the geometric mean and the "
        "interval of Student's t on the logarithms."
    )
    return "\n".join(lines) + f"\n\n{note}\n"
