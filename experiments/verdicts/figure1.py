"""The rules on Figure 1 and the fair comparison."""

from pathlib import Path
from statistics import fmean

from experiments import collected, fair_comparison, figure1
from experiments.verdicts.judged import Judged, clearly, clearly_above_one, graded, rule


def speedups(results: Path, level: float) -> list[float]:
    accuracy = figure1.read_accuracy(results / "figure1")
    steps = [
        [collected.crossing(at, path, level) for path in paths]
        for at, paths in (accuracy[network] for network in figure1.NETWORKS)
    ]
    return [plain / with_bn for plain, with_bn in zip(*steps, strict=True)]


def _movements(results: Path, start: int) -> dict[str, tuple[list[float], list[float]]]:
    """The movement of the median and of the outer percentiles after `start`, by network and seed."""
    found = {}
    for network, (steps, paths) in figure1.read_percentiles(results / "figure1").items():
        later = paths[:, steps >= start]
        moved = (later.max(1) - later.min(1)).mean(-1)  # (seeds, percentiles)
        found[network] = moved[:, 1].tolist(), moved[:, [0, 2]].mean(1).tolist()
    return found


def _less(results: Path) -> list[tuple[str, list[float]]]:
    """The reduction in movement by BN, by seed, for the four measures of Figure 1."""
    found = []
    for start in (0, 2500):
        plain, with_bn = (_movements(results, start)[network] for network in figure1.NETWORKS)
        for name, one, other in zip(("median", "outer percentiles"), plain, with_bn, strict=True):
            differences = [a - b for a, b in zip(one, other, strict=True)]
            found.append((f"{name} from step {start:,}", differences))
    return found


@rule(5)
def _initialization(results: Path) -> Judged:
    grid = fair_comparison.read_grid(results / "fair_comparison")
    ranges = []
    for network in fair_comparison.NETWORKS:
        cells = grid[network]
        means = [
            100 * fmean(cells[fair_comparison.best(cells, std)].test)
            for std in sorted({std for std, _ in cells})
        ]
        ranges.append(max(means) - min(means))
    plain, with_bn = ranges
    return graded(
        with_bn < plain / 2, with_bn < plain,
        f"range over the stds: {plain:.2f} points without BN, {with_bn:.2f} with",
    )  # fmt: skip


@rule(45)
def _faster(results: Path) -> Judged:
    ratios = [speedups(results, level) for level in (0.9, 0.95)]
    clear = [clearly_above_one(one) for one in ratios]
    text = [collected.ratio_text(one) for one in ratios]
    return graded(all(clear), any(clear), f"{text[0]} times fewer steps to 90%, {text[1]} to 95%")


@rule(46)
def _higher(results: Path) -> Judged:
    final = collected.read_csv(results / "figure1" / "final.csv")
    ends = [
        [100 * float(row["test_accuracy"]) for row in final if row["network"] == network]
        for network in figure1.NETWORKS
    ]
    same = [with_bn - plain for plain, with_bn in zip(*ends, strict=True)]
    folder = results / "fair_comparison"
    grid = fair_comparison.read_grid(folder)
    further = fair_comparison.read_further(folder, grid)
    best = [
        [*grid[network][fair_comparison.best(grid[network])].test, *further[network].test]
        for network in fair_comparison.NETWORKS
    ]
    own = [100 * (with_bn - plain) for plain, with_bn in zip(*best, strict=True)]
    clear = [clearly(one) > 0 for one in (same, own)]
    return graded(
        all(clear), any(clear),
        f"{collected.mean_text(same, 2, '+')} points at one setting, "
        f"{collected.mean_text(own, 2, '+')} each at its best",
    )  # fmt: skip


@rule(47)
def _unstable_without(results: Path) -> Judged:
    moved = _movements(results, 0)[figure1.NETWORKS[0]]
    clearly_less = [clearly(differences) > 0 for _, differences in _less(results)[:2]]
    shown = " and ".join(collected.mean_text(one, 2) for one in moved)
    return graded(
        all(fmean(one) > 0.5 for one in moved), all(clearly_less),
        f"median and outer percentiles move by {shown} from step 0",
    )  # fmt: skip


@rule(48)
def _stable_with(results: Path) -> Judged:
    less = _less(results)
    clear = [clearly(differences) > 0 for _, differences in less]
    shown = ", ".join(f"{name} {collected.mean_text(one, 2, '+')}" for name, one in less)
    return graded(all(clear), any(clear), f"less movement with BN: {shown}")
