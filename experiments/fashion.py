"""Figure 1 on another data set: Fashion-MNIST (Xiao, Rasul & Vollgraf 2017) in place of MNIST.

    python scripts/reproduce.py fashion     2 networks x 5 seeds x 50,000 steps (configs/sweep/fashion.yaml)

Do "faster" and "ends higher" (section 4.1) hold on other data? The same networks train on ten kinds of
clothes, with as many images of the same size, made binary like MNIST's, at the learning rate of Figure 1. The
training loss separates overfitting from slow training. No rule of the ledger depends on it. Measured numbers,
with n: results/fashion/table.md.

Decisions: the learning rate is not chosen on this data set. A threshold of half the gray range makes the
images binary, which loses more of clothes than of digits, so accuracies are lower than usually reported.
Accuracies are with moving averages, so that all evaluations are comparable; at the end Algorithm 2's is shown
as well. The loss at an evaluation is the mean over the mini-batches since the previous one.
"""

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

import numpy as np

from bn.errors import UserError
from bn.run.directory import RunDirectory, read_lines
from experiments import collected, style

SWEEPS = {"fashion": ()}
NETWORKS = ("mnist_baseline", "mnist_bn")
LEVEL = 0.8  # of test accuracy, for the steps to it
HEADER = ("network", "seed", "step", "test_accuracy", "test_accuracy_population", "train_loss")


class Seeds(NamedTuple):
    """The seeds of one network."""

    steps: np.ndarray  # (T,)
    accuracy: np.ndarray  # (seeds, T), moving averages
    loss: np.ndarray  # (seeds, T), of the training
    final: list[float]  # accuracy at the end by Algorithm 2's statistics; without BN the last of `accuracy`


def collect(runs: Sequence[RunDirectory], folder: Path) -> None:
    """Write accuracy.csv (one row per evaluation) and runs.json."""
    collected.check_all_ended(runs)  # its seeds are compared pairwise
    rows = []
    for run in collected.ended(runs):
        if run.status["state"] != "done":
            raise UserError(f"{run.name}: {run.status['state']}: the figure needs complete runs")
        losses: list[float] = []
        for line in read_lines(run.path / "metrics.jsonl"):
            if "train/loss" in line:
                losses.append(line["train/loss"])
            if "test/accuracy" in line:
                rows.append((
                    run.config.experiment, run.config.seed, line["step"], line["test/accuracy"],
                    line.get("test/accuracy_population", ""), f"{fmean(losses):.6f}",
                ))  # fmt: skip
                losses = []
    collected.write_csv(folder / "accuracy.csv", HEADER, rows)
    collected.write_provenance(folder / "runs.json", runs)


def read(folder: Path) -> dict[str, Seeds]:
    rows = collected.read_csv(folder / "accuracy.csv")
    found: dict[str, Seeds] = {}
    for network in dict.fromkeys(row["network"] for row in rows):
        own = [row for row in rows if row["network"] == network]
        steps = sorted({int(row["step"]) for row in own})
        accuracy, loss = (
            np.array([float(row[name]) for row in own]).reshape(-1, len(steps))
            for name in ("test_accuracy", "train_loss")
        )
        ends = [row for row in own if int(row["step"]) == steps[-1]]
        final = [float(row["test_accuracy_population"] or row["test_accuracy"]) for row in ends]
        found[network] = Seeds(np.array(steps), accuracy, loss, final)
    return found


def draw(folder: Path, out: Path) -> None:
    """Write fashion (png, svg, pdf) and table.md."""
    found = read(folder)
    _draw(found, out / "fashion")
    (out / "table.md").write_text(_table(found, collected.origin_in(folder)))


def _draw(found: dict[str, Seeds], stem: Path) -> None:
    fig, axes = style.figure(7.4, 3.0, columns=2)
    for network, seeds in found.items():
        look, label = style.STYLE[network], f"{style.LABEL[network]} (n = {len(seeds.final)})"
        for axis, values in zip(axes, (100 * seeds.accuracy, seeds.loss), strict=True):
            axis.plot(seeds.steps, values.mean(0), label=label, **look)
            axis.fill_between(
                seeds.steps, values.min(0), values.max(0), color=look["color"], alpha=0.25, lw=0
            )
    for axis in axes:
        axis.set(xlabel="training step", xlim=(0, found[NETWORKS[0]].steps[-1]))
        style.thousands(axis.xaxis)
    axes[0].set(ylim=(70, 86), title="(a) test accuracy (%)")
    axes[1].set(ylim=(0, 1), title="(b) training loss (nats)")
    axes[0].legend(loc="lower right")
    style.save(fig, stem)


def _table(found: dict[str, Seeds], origin: str) -> str:
    lines = [
        "| Fashion-MNIST | without BN | with BN | effect of BN, seed by seed |",
        "|---|---|---|---|",
    ]
    both = [found[network] for network in NETWORKS]

    steps = [
        [collected.crossing(seeds.steps, path, LEVEL) for path in seeds.accuracy if path.max() >= LEVEL]
        for seeds in both
    ]
    n = len(both[0].final)
    never = "never, in some seeds"
    shown = [collected.mean_text(each, 0) if len(each) == n else never for each in steps]
    speedup = "-"
    if never not in shown:
        ratios = [plain / with_bn for plain, with_bn in zip(*steps, strict=True)]
        speedup = f"{collected.ratio_text(ratios)} times fewer"
    lines.append(f"| steps to {100 * LEVEL:g}% test accuracy | {' | '.join(shown)} | {speedup} |")
    for name, of, digits in (
        ("highest test accuracy of the evaluations (%)", lambda s: 100 * s.accuracy.max(1), 2),
        ("step of the highest", lambda s: s.steps[s.accuracy.argmax(1)], 0),
        ("test accuracy at the end (%)", lambda s: 100 * s.accuracy[:, -1], 2),
        ("the same, Algorithm 2 (%)", lambda s: 100 * np.array(s.final), 2),
        ("training loss at the end (nats)", lambda s: s.loss[:, -1], 3),
    ):
        plain, with_bn = (of(seeds) for seeds in both)
        cells = [
            collected.mean_text(plain.tolist(), digits),
            collected.mean_text(with_bn.tolist(), digits),
            collected.mean_text((with_bn - plain).tolist(), digits, "+"),
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    end = both[0].steps[-1]
    return collected.document(
        lines,
        "The table shows the networks of Figure 1 on Fashion-MNIST, whose pixels are made binary at half "
        f"the gray range, after {end:,} mini-batches of 60 at learning rate 0.1. "
        f"{collected.means(collected.seeds_text([n]))} The ratio has its geometric mean and, in "
        "parentheses, its 95% interval (Student's t on the logarithms).",
        "Accuracies use moving averages unless the row names Algorithm 2. After the first 5,000 steps, "
        "evaluations are 2,500 steps apart. The final loss is the mean over the last 2,500 mini-batches.",
        origin,
    )
