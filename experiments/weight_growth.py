"""The growth of the weights and its effect on gradients (section 3.3), at learning rates 0.1, 1 and 10.

    python scripts/reproduce.py weight_growth     the networks of Figure 1 at three learning rates x 5 seeds
                                                  (configs/sweep/inside_mlp.yaml and weight_growth.yaml)

The paper: with BN "larger weights lead to smaller gradients, and Batch Normalization will stabilize the
parameter growth". The gradient with respect to W of a layer with BN is at right angles to W, so each step of
SGD makes the norm of W grow; and it is inversely proportional to that norm. The effect of a step is therefore
set by the effective learning rate, rate / |W|^2 (van Laarhoven 2017, arXiv 1706.05350), which falls as W
grows. Measured numbers, with n: results/weight_growth/table.md.

Deviations and assumptions, decided before the runs: norms are Euclidean, of each hidden layer's W; the
gradient is that of one fixed mini-batch of training examples. Growth is the ratio of two norms minus one: end
to middle (step 25,000) for the second half, middle to start for the first. Claim 37's "at each rate" means at
each learning rate and in each hidden layer: confirmed if each mean over the seeds is below 10%, partly if in
each layer at each learning rate the growth over the second half is clearly less than over the first, seed by
seed. A run that diverged cannot be compared, and would make the claim not confirmed.

The claim is about the network with BN. Runs without BN at the same learning rates (those at 1 and 10 were
trained later, after this rule was written) also answer whether BN is what stabilizes the growth. At a
learning rate it is, if in each hidden layer the growth over the second half is clearly less with BN than
without, seed by seed; it is not, if it is clearly more in any; otherwise it is undecided.
"""

from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from bn.run.directory import RunDirectory
from experiments import archived, collected, observations, style
from experiments.observations import NETWORKS, Row, by_seed

SWEEPS = {"inside_mlp": (), "weight_growth": ()}
LAYERS = (1, 2, 3)
START, MIDDLE, END = 0, 25_000, 50_000
APART = 20  # in a norm or in %; seeds that lie farther apart are listed instead of averaged
EVERY = 2_500  # steps between rows of the record
LATER = tuple(range(MIDDLE, END + 1, EVERY))  # the second half


def collect(runs: Sequence[RunDirectory], folder: Path) -> None:
    """Write norms.csv (by network, learning rate, seed, step and layer, every 2,500 steps) and runs.json."""
    entries = archived.gather(runs, folder)
    observations.write(folder / "norms.csv", runs, ("weight_norm", "gradient_norm"), every=EVERY)
    collected.write_entries(folder / "runs.json", entries)


def read_rows(folder: Path) -> list[Row]:
    return observations.read(folder / "norms.csv")


def rates(rows: Sequence[Row]) -> list[float]:
    return sorted({row.lr for row in rows})


def growth(rows: Sequence[Row], network: str, lr: float, layer: int) -> tuple[list[float], list[float]]:
    """The relative growth of |W| over the first and the second half of the training, by seed."""
    start, middle, end = (
        by_seed(rows, "weight_norm", network=network, lr=lr, layer=layer, step=step)
        for step in (START, MIDDLE, END)
    )
    first = [later / earlier - 1 for earlier, later in zip(start, middle, strict=True)]
    return first, [later / earlier - 1 for earlier, later in zip(middle, end, strict=True)]


def less_with_bn(rows: Sequence[Row], lr: float, layer: int) -> list[float]:
    """The growth of |W| over the second half without BN minus that with BN, by seed."""
    plain, with_bn = (growth(rows, network, lr, layer)[1] for network in NETWORKS)
    return [a - b for a, b in zip(plain, with_bn, strict=True)]


def draw(folder: Path, out: Path) -> None:
    """Write weight_growth (png, svg, pdf) and table.md."""
    rows = read_rows(folder)
    _draw(rows, out / "weight_growth")
    (out / "table.md").write_text(_table(rows, collected.read_json(folder / "runs.json")))


def _draw(rows: Sequence[Row], stem: Path) -> None:
    found = rates(rows)
    fig, axes = style.figure(
        3.0 * len(found), 4.6, columns=len(found), rows=2, sharex=True, sharey="row", squeeze=False
    )
    for column, lr in zip(axes.T, found, strict=True):
        for axis, name in zip(column, ("weight_norm", "gradient_norm"), strict=True):
            for network in NETWORKS:
                look = style.STYLE[network]
                steps, values = observations.path(rows, name, network=network, lr=lr, layer=LAYERS[-1])
                axis.plot(steps, values.mean(0), label=style.LABEL[network], **look)
                axis.fill_between(steps, values.min(0), values.max(0), color=look["color"], alpha=0.2, lw=0)
            axis.set(yscale="log", xlim=(START, END))
            axis.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
            style.thousands(axis.xaxis)
        column[0].set_title(f"learning rate {lr:g}")
        column[1].set_xlabel("training step")
    axes[0, 0].set_ylabel("|W|, last hidden layer")
    axes[1, 0].set_ylabel("|gradient| with respect to it")
    axes[0, 0].legend(loc="best")
    style.save(fig, stem)


def _table(rows: Sequence[Row], document: Mapping[str, Any]) -> str:
    lines = [
        "| network | learning rate | hidden layer | \\|W\\| at the start | at the end "
        "| growth, first half (%) | growth, second half (%) | less than without BN (points) "
        "| norm of the gradient, second half | effective learning rate at the end (% of the initial one) |",
        "|---|--:|--:|---|---|---|---|---|---|---|",
    ]
    for network, lr, layer in product(NETWORKS, rates(rows), LAYERS):
        where = {"network": network, "lr": lr, "layer": layer}
        start, end = (by_seed(rows, "weight_norm", step=step, **where) for step in (START, END))
        first, second = ([100 * value for value in half] for half in growth(rows, network, lr, layer))
        less = [100 * value for value in less_with_bn(rows, lr, layer)]
        left = [100 * (a / b) ** 2 for a, b in zip(start, end, strict=True)]
        cells = [
            collected.mean_text(start, 2),
            collected.summary(end, APART, 2),
            collected.summary(first, 10 * APART, 1),
            collected.summary(second, APART, 1),
            "-" if network == NETWORKS[0] else collected.mean_text(less, 1, "+"),
            collected.mean_text(by_seed(rows, "gradient_norm", step=LATER, **where), 4),
            collected.summary(left, APART, 1),
        ]
        lines.append(f"| {style.LABEL[network]} | {lr:g} | {layer} | {' | '.join(cells)} |")
    n = len(by_seed(rows, "weight_norm", network=NETWORKS[0]))
    return collected.document(
        lines,
        f"{collected.means(f'n = {n} seeds')} Seeds are listed where they lie far apart.",
        (
            "**Norms** are Euclidean: |W| is that of a hidden layer's W, and the gradient is that of one "
            "mini-batch's loss with respect to W.",
            '**Growth** is that of |W| over steps 0 to 25,000 and 25,000 to 50,000. "Less than without BN" '
            "compares the second halves seed by seed.",
            "**Effective learning rate** is the learning rate over the square of |W|.",
        ),
        collected.origin(document),
    )
