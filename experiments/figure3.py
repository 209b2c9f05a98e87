"""Figure 3 (section 4.2.2): the steps that each network needs to the maximum accuracy of Inception, and its
own maximum.

    python scripts/reproduce.py figure3     the runs of figure2: 7 networks x 3 seeds

The paper, on ImageNet: Inception 72.2% at 31.0M steps; BN-Baseline 13.3M, 72.7%; BN-x5 2.1M (14 times
fewer), 73.0%; BN-x30 2.7M, 74.8%; BN-x5-Sigmoid 69.8%; Inception at five times the rate reaches machine
infinity, Inception with sigmoids is never better than 1/1000. Ours, with n: results/figure3/table.md.

Deviations and assumptions: steps are counted in mini-batches of 32 as the paper's are, whatever the run's
own. Accuracy is single-crop top-1 on the validation images. The level is the mean of the maxima of
Inception's seeds; a run reaches it between two evaluations, interpolated. Of Inception itself the steps are
those of each seed's own maximum. The ratio is that of the same seeds. Maxima are those of the accuracies with
moving averages, as evaluated in training; the paper does not say which statistics it used. A maximum over
noisy evaluations lies above the accuracy that a network keeps, which is in the last column: at the end, with
Algorithm 2's statistics. A run is at chance if its best evaluation is not above what 0.1% of runs that guess
exceed: p + z sqrt(p (1 - p) / n), p the share of one class, n the validation pictures, z corrected for the
number of evaluations. The scale is in the table's head.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bn.records import RunDirectory
from experiments import collected, networks, style

SWEEPS = {"figure2": ()}
PAPER_STEPS = {"inception": 31.0, "bn_baseline": 13.3, "bn_x5": 2.1, "bn_x30": 2.7}  # million
PAPER_MAXIMUM = {
    "inception": "72.2",
    "bn_baseline": "72.7",
    "bn_x5": "73.0",
    "bn_x30": "74.8",
    "bn_x5_sigmoid": "69.8",
    "inception_x5": "reaches machine infinity",
    "inception_sigmoid": "never above 0.1",
}
HEADER = ("network", "seed", "state", "step", "maximum", "at_chance", "matched", "population")

Row = dict[str, str]


def collect(runs: Sequence[RunDirectory], folder: Path) -> None:
    """final.csv (one row a run) and runs.json; the curves are in results/figure2.

    `matched` is the step of `networks.matched`, `population` the accuracy at the end with Algorithm 2's
    statistics; both are empty where there is none.
    """
    found = networks.trainings(runs)
    level = networks.base_maximum(found)
    rows = []
    for t in found:
        at = networks.matched(t, level)
        rows.append((
            t.network, t.seed, t.state, t.end, t.maximum, "yes" if t.at_chance else "no",
            None if at is None else f"{at:.1f}", t.population,
        ))  # fmt: skip
    collected.write_csv(folder / "final.csv", HEADER, rows)
    collected.write_provenance(folder / "runs.json", runs)


def draw(folder: Path, out: Path) -> None:
    """table.md."""
    config = collected.read_json(folder / "runs.json")["config"]
    (out / "table.md").write_text(_table(collected.read_csv(folder / "final.csv"), config))


def _table(final: Sequence[Row], config: Mapping[str, Any]) -> str:
    groups = {network: [row for row in final if row["network"] == network] for network in networks.NETWORKS}
    base = groups[networks.BASE]
    level, _ = collected.mean_and_interval([100 * float(row["maximum"]) for row in base])
    lines = [
        "| Figure 3 | the paper, ImageNet: steps to 72.2% | times fewer | maximum (%) "
        f"| ours, {networks.SCALE[config['scale']]}: steps to {level:.1f}% | times fewer | maximum (%) "
        "| at the end, Algorithm 2 (%) |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for network, group in groups.items():
        if group:
            cells = (style.LABEL[network], *_paper(network), *_ours(group, base))
            lines.append(f"| {' | '.join(cells)} |")
    numbers = sorted({len(group) for group in groups.values() if group})
    note = (
        f"Ours: {networks.setting(config)}; validation accuracy (top-1, single crop), mean ± half-width of "
        f"the 95% confidence interval, n = {' or '.join(map(str, numbers))} seeds. Steps, counted in "
        f"mini-batches of {networks.mini_batch(config)}: to the mean of "
        "Inception's maxima, between evaluations, interpolated; of Inception itself to each seed's own "
        "maximum. Times fewer: Inception's steps over the network's, seed by seed. Maximum: over the "
        "evaluations of a run, with moving averages; a run that diverged before its first counts as chance; "
        "where one diverged, seed by seed. "
        "At chance: no evaluation above what 0.1% of runs that guess exceed. The paper shows one run of each."
    )
    return "\n".join(lines) + f"\n\n{note}\n"


def _paper(network: str) -> tuple[str, str, str]:
    steps = PAPER_STEPS.get(network)
    if steps is None:
        return "never", "-", PAPER_MAXIMUM[network]
    return f"{steps}M", f"{PAPER_STEPS[networks.BASE] / steps:.1f}", PAPER_MAXIMUM[network]


def _ours(group: Sequence[Row], base: Sequence[Row]) -> tuple[str, str, str, str]:
    maxima = [100 * float(row["maximum"]) for row in group]
    if any(row["state"] == "diverged" for row in group):
        maximum = ", ".join(f"{value:.2f}" for value in maxima)  # a mean would say little
    else:
        maximum = _mean(maxima, 2)
    population = [100 * float(row["population"]) for row in group if row["population"]]
    at_end = _mean(population, 2) if population else "-"
    if 0 < len(population) < len(group):
        at_end += f" (n = {len(population)})"
    return _steps(group), _ratio(group, base), maximum, at_end


def _steps(group: Sequence[Row]) -> str:
    """The mean where all seeds match; each seed's steps where some do; and how runs failed."""
    steps = [float(row["matched"]) for row in group if row["matched"]]
    if len(steps) == len(group):
        reached = _mean(steps, 0)
    elif steps:
        reached = f"{len(steps)} of {len(group)} seeds: {', '.join(f'{step:,.0f}' for step in steps)}"
    else:
        reached = "never"
    ends = [int(row["step"]) for row in group if row["state"] == "diverged"]
    at_chance = sum(row["at_chance"] == "yes" for row in group)
    return "; ".join((reached, *networks.failures(ends, at_chance, len(group))))


def _ratio(group: Sequence[Row], base: Sequence[Row]) -> str:
    """Seed by seed; "-" unless all seeds of both have steps."""
    of_base = {row["seed"]: row["matched"] for row in base}
    if group[0]["network"] == networks.BASE:
        return "1"
    if not all(row["matched"] and of_base.get(row["seed"]) for row in group):
        return "-"
    return _mean([float(of_base[row["seed"]]) / float(row["matched"]) for row in group], 1)


def _mean(values: Sequence[float], digits: int) -> str:
    """12.34 ± 0.56; of one value, which has no interval, the value."""
    mean, interval = collected.mean_and_interval(values)
    return f"{mean:,.{digits}f} ± {interval:,.{digits}f}" if len(values) > 1 else f"{mean:,.{digits}f}"
