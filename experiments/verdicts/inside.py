"""The rules on what is observed inside the MLP: covariate shift, saturation, Jacobians, weight norms."""

from itertools import pairwise
from pathlib import Path
from statistics import fmean

from experiments import collected, covariate_shift, jacobians, saturation, weight_growth
from experiments.observations import NETWORKS, Row, by_seed
from experiments.verdicts.figure1 import speedups
from experiments.verdicts.judged import Judged, clearly, clearly_above_one, graded, rule

PLAIN, WITH_BN = NETWORKS


def _less(plain: list[float], with_bn: list[float]) -> list[float]:
    return [a - b for a, b in zip(plain, with_bn, strict=True)]


@rule(1)
def _shift_slows(results: Path) -> Judged:
    grid = covariate_shift.read_grid(results / "covariate_shift")
    ratios = covariate_shift.times_less(grid, "shift")
    rhos = [covariate_shift.rank_correlation(grid, network, "shift") for network in NETWORKS]
    smaller = clearly_above_one(ratios)
    return graded(
        smaller and all(rho < -0.5 for rho in rhos), smaller,
        f"{collected.ratio_text(ratios)} times less shift with BN; Spearman's rho of shift and accuracy "
        f"{rhos[0]:+.2f} without BN, {rhos[1]:+.2f} with",
    )  # fmt: skip


def _amplified(results: Path, network: str, layer: int) -> list[float]:
    """The change of the next layer's input, in %."""
    rows = covariate_shift.read_inside(results / "covariate_shift")
    found = by_seed(rows, "amplified", network=network, layer=layer, step=covariate_shift.END)
    return [100 * value for value in found]


@rule(2)
def _changes_amplify(results: Path) -> Judged:
    first, last = (_amplified(results, PLAIN, layer) for layer in (1, covariate_shift.LAST))
    grows = _less(last, first)
    return graded(
        clearly(grows) > 0, fmean(grows) > 0,
        f"at the end of the training the second layer's input changes by {collected.mean_text(first, 3)}%, "
        f"the last's by {collected.mean_text(last, 3)}%",
    )  # fmt: skip


@rule(4)
def _saturation_grows_with_depth(results: Path) -> Judged:
    rows = saturation.read_rows(results / "saturation")
    shares = [saturation.over_training(rows, PLAIN, layer) for layer in saturation.LAYERS]
    more = [_less(later, earlier) for earlier, later in pairwise(shares)]
    shown = ", ".join(collected.mean_text([100 * value for value in seeds], 2) for seeds in shares)
    return graded(
        all(clearly(differences) > 0 for differences in more), clearly(_less(shares[-1], shares[0])) > 0,
        f"{shown}% of the units in hidden layers 1, 2, 3",
    )  # fmt: skip


def _at_end(rows: list[Row], name: str) -> list[float]:
    """A measure of the last hidden layer of the trained network with BN."""
    return by_seed(rows, name, network=WITH_BN, layer=covariate_shift.LAST, step=covariate_shift.END)


@rule(15)
def _correlated(results: Path) -> Judged:
    rows = covariate_shift.read_inside(results / "covariate_shift")
    found = _at_end(rows, "correlation")
    ratios = speedups(results, 0.9)
    faster = clearly_above_one(ratios)
    return graded(
        faster and clearly([value - 0.1 for value in found]) > 0, faster,
        f"mean absolute correlation {collected.mean_text(found, 3)}; {collected.ratio_text(ratios)} times "
        "fewer steps to 90%",
    )  # fmt: skip


@rule(22)
def _joint_distribution_changes(results: Path) -> Judged:
    rows = covariate_shift.read_inside(results / "covariate_shift")
    change, sampling = (_at_end(rows, f"correlation_{name}") for name in ("change", "sampling"))
    ratios = [a / b for a, b in zip(change, sampling, strict=True)]
    return graded(
        min(ratios) > 2, min(ratios) > 1,
        f"{collected.ratio_text(ratios)} times the difference between two samples",
    )  # fmt: skip


@rule(37)
def _growth_stabilizes(results: Path) -> Judged:
    rows = weight_growth.read_rows(results / "weight_growth")
    halves = {
        (lr, layer): weight_growth.growth(rows, WITH_BN, lr, layer)
        for lr in weight_growth.rates(rows)
        for layer in weight_growth.LAYERS
    }
    worst = {
        lr: max(100 * fmean(second) for (rate, _), (_, second) in halves.items() if rate == lr)
        for lr, _ in halves
    }
    shown = ", ".join(f"{value:.1f}% at learning rate {lr:g}" for lr, value in worst.items())
    return graded(
        all(value < 10 for value in worst.values()),
        all(clearly(_less(first, second)) > 0 for first, second in halves.values()),
        f"largest growth of a layer over the second half: {shown}",
    )  # fmt: skip


@rule(38)
def _prevents_both(results: Path) -> Judged:
    changes = [_amplified(results, network, covariate_shift.LAST) for network in NETWORKS]
    rows = saturation.read_rows(results / "saturation")
    shares = [
        [100 * value for value in saturation.over_training(rows, network, saturation.LAYERS[-1])]
        for network in NETWORKS
    ]
    smaller = [clearly(_less(*both)) > 0 for both in (changes, shares)]
    text = [" without BN, ".join(collected.mean_text(v, 2) + "%" for v in both) for both in (changes, shares)]
    return graded(
        all(smaller), any(smaller), f"change {text[0]} with; saturated {text[1]} with",
    )  # fmt: skip


@rule(39)
def _singular_values(results: Path) -> Judged:
    rows = jacobians.read_rows(results / "jacobians")
    signs = [
        clearly(_less(*(jacobians.logarithms(rows, network, layer, step) for network in NETWORKS)))
        for layer in jacobians.LAYERS
        for step in jacobians.STEPS
    ]
    nearer = signs.count(1)
    return graded(
        nearer == len(signs), 2 * nearer > len(signs),
        f"clearly nearer to 1 with BN in {nearer} of {len(signs)} comparisons, clearly farther in "
        f"{signs.count(-1)}",
    )  # fmt: skip


@rule(41)
def _gradient_magnitude(results: Path) -> Judged:
    rows = jacobians.read_rows(results / "jacobians")
    less = [
        _less(*(jacobians.decay(rows, network, step) for network in NETWORKS)) for step in jacobians.STEPS
    ]
    by_mean = [fmean(seeds) for seeds in zip(*less, strict=True)]
    clear = [clearly(seeds) > 0 for seeds in less]
    opposite = sum(clearly(seeds) < 0 for seeds in less)
    return graded(
        all(clear), clearly(by_mean) > 0,
        f"absolute logarithm smaller with BN by {collected.mean_text(by_mean, 2)} on average over steps "
        f"{jacobians.STEPS[0]} to {jacobians.STEPS[-1]:,}, logarithmically spaced; clearly at {sum(clear)} "
        f"of {len(clear)}, clearly larger at {opposite}",
    )  # fmt: skip
