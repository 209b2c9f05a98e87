"""Layer and group normalization, which came later, in place of batch normalization.

    python scripts/reproduce.py what_came_after     4 normalizations: a grid of 5 rates, then 5 further seeds
                                                    (configs/sweep/what_came_after.yaml,
                                                    what_came_after_chosen.yaml)

The network of Figure 1 without normalization, with BN, with layer normalization (Ba et al. 2016) and with
group normalization (Wu & He 2018). The last two need no mini-batch: they normalize over the units of one
example, in the whole layer or in each of 10 groups of 10 units. All have a gamma and a beta for each unit,
before the sigmoid, the same budget, and their own best learning rate. No claim of the paper depends on it.
Measured numbers, with n: results/what_came_after/table.md.

Decisions: budget, learning rates and choice are those of `optimizers` with SGD; its runs without
normalization and with BN are used here too.
"""

from pathlib import Path

from bn.config import Config
from experiments import collected, optimizers, selection, style

SWEEPS = {"what_came_after": (), "optimizers": ("optim=sgd",)}
NORMS = {
    "none": "none",
    "batch": "batch normalization",
    "layer": "layer normalization",
    "group": "group normalization, 10 groups",
}
LOOK = {
    "none": style.WITHOUT,
    "batch": style.WITH,
    "layer": {"color": "#009E73", "linestyle": (0, (6, 1.5, 1, 1.5))},
    "group": {"color": "#CC79A7", "linestyle": (0, (1, 1.2))},
}
COLUMNS = ("norm",)


def case_of(config: Config) -> selection.Case:
    return (config.model.norm,)


collect, collect_further = selection.collectors(COLUMNS, case_of)


def further_sweeps(folder: Path) -> list[tuple[str, tuple[str, ...]]]:
    """The five further seeds of each normalization at its chosen learning rate."""
    found = []
    for (norm,), cells in selection.read(folder / selection.GRID, COLUMNS).items():
        rate = f"optim.lr_factor={optimizers.factor(cells):g}"
        if norm in ("none", "batch"):
            experiment = "mnist_bn" if norm == "batch" else "mnist_baseline"
            found.append(("optimizers_chosen", (f"experiment={experiment}", "optim=sgd", rate)))
        else:
            found.append(("what_came_after_chosen", (f"model.norm={norm}", rate)))
    return found


def draw(folder: Path, out: Path) -> None:
    """Write what_came_after (png, svg, pdf) and table.md."""
    grid = selection.read(folder / selection.GRID, COLUMNS)
    _draw(grid, out / "what_came_after")
    (out / "table.md").write_text(
        _table(grid, selection.read_further(folder, COLUMNS, grid), collected.origin_in(folder))
    )


def _draw(grid: selection.Grid, stem: Path) -> None:
    fig, axis = style.figure(4.6, 3.2)
    for norm, look in LOOK.items():
        selection.draw_rates(axis, grid[norm,], NORMS[norm], look)
    selection.error_axis(axis)
    axis.set_ylabel("accuracy on held-out examples (%),\nlogarithmic in the error")
    axis.legend(loc="lower center")
    style.save(fig, stem)


def _table(grid: selection.Grid, further: dict[selection.Case, list[selection.Run]], origin: str) -> str:
    lines = ["| normalization | learning rate | test accuracy (%) | minus BN (points) |", "|---|--:|---|---|"]
    with_bn = further["batch",]
    for norm, name in NORMS.items():
        runs = further[norm,]
        against = collected.summary(selection.gains(runs, with_bn), selection.APART, sign="+")
        cells = (
            selection.rate_text(grid[norm,]),
            selection.percent(runs),
            "-" if norm == "batch" else against,
        )
        lines.append(f"| {name} | {' | '.join(cells)} |")
    n = collected.seeds_text(len(runs) for runs in further.values())
    return collected.document(
        lines,
        "The table shows the network of Figure 1 after 5,000 mini-batches of 60, with SGD at a constant "
        f"learning rate. With BN, test accuracy is that by Algorithm 2's statistics. {collected.means(n)} "
        "Differences are computed seed by seed.",
        selection.CHOICE,
        origin,
    )
