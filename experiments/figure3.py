"""Figure 3 (section 4.2.2): each network's steps to Inception's maximum accuracy, and its own maximum.

    python scripts/reproduce.py figure3     the runs of figure2 (configs/sweep/figure2.yaml)

The paper, on ImageNet: Inception 72.2% at 31.0M steps; BN-Baseline 13.3M, 72.7%; BN-x5 2.1M (14 times
fewer), 73.0%; BN-x30 2.7M, 74.8%; BN-x5-Sigmoid 69.8%; Inception at five times the learning rate reaches
machine infinity, Inception with sigmoids is never better than 1/1000. Ours, with n: results/figure3/table.md.

Deviations and assumptions: steps are counted in mini-batches of 32, as in the paper, whatever the run's own
size. Accuracy is single-crop top-1 on the validation images. The level is the mean of the maxima of
Inception's seeds; the step at which a run reaches it is interpolated between two evaluations. For Inception
itself the steps are those of each seed's own maximum. Ratios compare the same seeds: their geometric mean,
and Student's 95% interval of the mean logarithm. Maxima are those of the accuracies with moving averages, as
evaluated during training; the paper does not say which statistics it used. The last column has the accuracy
at the end of training, with BN by Algorithm 2's statistics, which can exceed the maximum because moving
averages lag. A run is at chance if its best evaluation does not exceed what 0.1% of guessing runs exceed:
p + z sqrt(p (1 - p) / n), with p the share of one class, n the number of validation images, z corrected for
the number of evaluations. The table has the seeds whose runs have ended, and its header gives the scale.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bn.run.directory import RunDirectory
from experiments import collected, networks, style
from experiments.networks import Final, Training

SWEEPS = {"figure2": ()}
LEVELS = (0.4, 0.45, 0.5)  # besides the maximum of Inception
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


def collect(runs: Sequence[RunDirectory], folder: Path) -> None:
    """Write accuracy.csv, final.csv and runs.json in the form of figure2, whose records are used too."""
    gathered = networks.gather(runs, folder, folder.parent / "figure2", needed=(networks.BASE,))
    networks.write_trainings(folder, gathered)


def draw(folder: Path, out: Path) -> None:
    """Write table.md, its definitions in notes.md, and levels.md: the ratios of steps to other accuracies."""
    document = collected.read_json(folder / "runs.json")
    found = [training for training, _ in networks.read_trainings(folder)]
    level = networks.base_maximum(found)
    (out / "table.md").write_text(_table([networks.final(one, level) for one in found], document))
    (out / "notes.md").write_text(_notes(document["config"], 100 * level))
    (out / "levels.md").write_text(_levels(found, document))


def _table(final: Sequence[Final], document: Mapping[str, Any]) -> str:
    config = document["config"]
    groups = {network: [run for run in final if run.network == network] for network in networks.NETWORKS}
    base = groups[networks.BASE]
    level = 100 * networks.base_maximum(base)
    lines = [
        "| network | the paper (ImageNet): steps to 72.2% | the paper: times fewer | the paper: maximum (%) "
        f"| ours ({networks.SCALE[config['scale']]}): seeds | ours: steps to {level:.1f}% | ours: times "
        "fewer | ours: maximum (%) | ours: at the end (%) |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for network, group in groups.items():
        if group:
            cells = (style.LABEL[network], *_paper(network), str(len(group)), *_ours(group, base))
            lines.append(f"| {' | '.join(cells)} |")
    return collected.document(
        lines,
        "Each of our numbers is the mean over the seeds ± the half-width of its 95% confidence interval. "
        f"Seeds are listed where one diverged or they lie more than {networks.APART:g} points of accuracy "
        f"apart. {networks.AT_CHANCE} {collected.origin(document)}",
    )


def _notes(config: Mapping[str, Any], level: float) -> str:
    return collected.document(
        [networks.trained(config, "Our networks train")],
        (
            "**Accuracy** is top-1, on a single crop of each validation image. On CIFAR-10 these are the "
            "test images, which were not used to choose any setting.",
            f"**Steps** are mini-batches of {networks.mini_batch(config)} until the accuracy, interpolated "
            f"between evaluations, reaches {level:.1f}%, the mean of the maxima of Inception's seeds. For "
            "Inception they are the steps to each seed's own maximum.",
            "**Times fewer** is Inception's steps over the network's, computed for each seed: the geometric "
            "mean and, in parentheses, its 95% confidence interval (Student's t on the logarithms).",
            "**Maximum** is the highest accuracy of a run's evaluations, which use moving averages. A run "
            "that diverged before its first evaluation counts as chance.",
            "**At the end**, networks with BN use Algorithm 2's statistics, so this accuracy can exceed the "
            "maximum.",
        ),
        "BN-x5 and the networks based on it train for half of the steps, Inception with sigmoids for a "
        "fifth. The paper shows one run of each network.",
    )


def _paper(network: str) -> tuple[str, str, str]:
    steps = PAPER_STEPS.get(network)
    if steps is None:
        return "never", "-", PAPER_MAXIMUM[network]
    return f"{steps}M", f"{PAPER_STEPS[networks.BASE] / steps:.1f}", PAPER_MAXIMUM[network]


def _ours(group: Sequence[Final], base: Sequence[Final]) -> tuple[str, str, str, str]:
    maxima = [100 * run.maximum for run in group]
    if any(run.diverged for run in group):
        maximum = ", ".join(f"{value:.2f}" for value in maxima)  # a mean would say little
    else:
        maximum = collected.summary(maxima, networks.APART)
    ends = [100 * run.accuracy for run in group if run.accuracy is not None]
    at_end = collected.summary(ends, networks.APART) if ends else "-"
    if 0 < len(ends) < len(group):
        at_end += f" ({len(ends)} of {len(group)} seeds)"
    return networks.steps_text(group), _ratio(group, base), maximum, at_end


def _ratio(group: Sequence[Final], base: Sequence[Final]) -> str:
    if group[0].network == networks.BASE:
        return "1"
    ratios = networks.times_fewer(group, base)
    if ratios is None:
        return "-"
    return collected.ratio_text(ratios) + (f", n = {len(ratios)}" if len(ratios) < len(group) else "")


def _levels(found: Sequence[Training], document: Mapping[str, Any]) -> str:
    """The ratios of steps to several accuracies: do they depend on the level?"""
    groups = networks.by_network(found)
    base = groups.pop(networks.BASE)

    def cells(group: Sequence[Training]) -> list[str]:
        pairs = networks.paired(group, base)
        wanted = [[(one.reached(level), other.reached(level)) for one, other in pairs] for level in LEVELS]
        wanted.append([(one.reached(other.maximum), other.maximum_step) for one, other in pairs])
        return [
            collected.ratio_text([other / step for step, other in steps if step and other])
            if steps and all(step and other for step, other in steps)
            else "-"
            for steps in wanted
        ]

    header = [*(f"{100 * level:g}%" for level in LEVELS), "the seed's own maximum of Inception"]
    lines = [
        f"| times fewer steps than Inception, to | {' | '.join(header)} |",
        f"|---|{'---|' * len(header)}",
        *(f"| {style.LABEL[network]} | {' | '.join(cells(group))} |" for network, group in groups.items()),
    ]
    return collected.document(
        lines,
        f"{collected.RATIOS} A dash means that some seed does not reach the accuracy. In the last column, "
        "each seed is compared at its own level.",
        collected.origin(document),
    )
