"""Any variant of SGD (section 3.1, claim 23): "A model employing Batch Normalization can be trained using
batch gradient descent, or Stochastic Gradient Descent with a mini-batch size m > 1, or with any of its
variants such as Adagrad".

    python scripts/reproduce.py optimizers     4 optimizers x 2 networks: a grid of 5 rates, then 5 further
                                               seeds (configs/sweep/optimizers.yaml, optimizers_chosen.yaml)

The network of Figure 1, with and without BN, trains with SGD, SGD with momentum 0.9, Adagrad and Adam
(torch's constants), each at its own best learning rate, chosen as described in `experiments.selection`.
Measured numbers, with n: results/optimizers/table.md.

Decisions that the rule of claim 23 left open: 5,000 mini-batches of 60, 300,000 examples, at a constant
learning rate, on the 50,000 training examples that are not held out; "each ends above 95%" is about the mean
of the five further seeds, by Algorithm 2's statistics, of each optimizer and, in `batch_size`, of each size.
The learning rates are 1, 3, 10, 30 and 100 times one that is small for the optimizer: 0.1, with momentum
0.01, Adagrad's 0.01, Adam's 0.001. Six earlier runs of another seed, with SGD at three learning rates, showed
where good ones lie. A run that diverged counts as chance.
"""

from pathlib import Path

from bn.config import Config
from experiments import collected, selection, style

SWEEPS = {"optimizers": ()}
NETWORKS = ("mnist_baseline", "mnist_bn")
OPTIMIZERS = {"sgd": "SGD", "momentum": "SGD, momentum 0.9", "adagrad": "Adagrad", "adam": "Adam"}
SMALLEST = {"sgd": 0.1, "momentum": 0.01, "adagrad": 0.01, "adam": 0.001}  # learning rate at a factor of 1
COLUMNS = ("network", "optimizer")


def case_of(config: Config) -> selection.Case:
    optim = config.optim
    return config.experiment, "momentum" if optim.momentum else optim.name


collect, collect_further = selection.collectors(COLUMNS, case_of)


def further_sweeps(folder: Path) -> list[tuple[str, tuple[str, ...]]]:
    """The five further seeds of each optimizer and network at its chosen learning rate."""
    return [
        (
            "optimizers_chosen",
            (f"experiment={network}", f"optim={optimizer}", f"optim.lr_factor={factor(cells, optimizer):g}"),
        )
        for (network, optimizer), cells in selection.read(folder / selection.GRID, COLUMNS).items()
    ]


def factor(cells: selection.Cells, optimizer: str = "sgd") -> float:
    """The chosen learning rate as a multiple of the optimizer's smallest."""
    return round(selection.best(cells) / SMALLEST[optimizer])


def draw(folder: Path, out: Path) -> None:
    """Write optimizers (png, svg, pdf) and table.md."""
    grid = selection.read(folder / selection.GRID, COLUMNS)
    _draw(grid, out / "optimizers")
    (out / "table.md").write_text(
        _table(grid, selection.read_further(folder, COLUMNS, grid), collected.origin_in(folder))
    )


def _draw(grid: selection.Grid, stem: Path) -> None:
    fig, axes = style.figure(9.0, 2.9, columns=len(OPTIMIZERS), sharey=True)
    for axis, (optimizer, title) in zip(axes, OPTIMIZERS.items(), strict=True):
        for network in NETWORKS:
            selection.draw_rates(axis, grid[network, optimizer], style.LABEL[network], style.STYLE[network])
        selection.error_axis(axis)
        axis.set_title(title)
    axes[0].set_ylabel("accuracy on held-out examples (%),\nlogarithmic in the error")
    axes[-1].legend(loc="lower center")
    style.save(fig, stem)


def _table(grid: selection.Grid, further: dict[selection.Case, list[selection.Run]], origin: str) -> str:
    lines = [
        "| optimizer | without BN: learning rate | without BN: test accuracy (%) | with BN: learning rate "
        "| with BN: test accuracy (%) | BN's gain (points) |",
        "|---|--:|---|--:|---|---|",
    ]
    for optimizer, name in OPTIMIZERS.items():
        plain, with_bn = (further[network, optimizer] for network in NETWORKS)
        gain = collected.summary(selection.gains(with_bn, plain), selection.APART, sign="+")
        cells = [
            cell
            for network in NETWORKS
            for cell in (
                selection.rate_text(grid[network, optimizer]),
                selection.percent(further[network, optimizer]),
            )
        ]
        lines.append(f"| {name} | {' | '.join(cells)} | {gain} |")
    n = collected.seeds_text(len(runs) for runs in further.values())
    return collected.document(
        lines,
        "The table shows the network of Figure 1 after 5,000 mini-batches of 60, at a constant learning "
        f"rate. With BN, test accuracy is that by Algorithm 2's statistics. {collected.means(n)} "
        f"{selection.APART_NOTE} The gain is computed seed by seed.",
        selection.CHOICE,
        origin,
    )
