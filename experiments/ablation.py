"""The seven changes of section 4.2.1, one at a time: which of them matter?

    python scripts/reproduce.py ablation     Inception (figure2), BN-x5 with each change reverted alone
                                             (configs/sweep/ablation.yaml), BN-Baseline with each added alone
                                             (configs/sweep/switches.yaml), some seeds of each

The paper makes all seven changes at once and gives a number for one of them: shuffling within shards "led to
about 1% improvements in the validation accuracy". This experiment measures each change twice: in BN-x5 (BN-x5
minus BN-x5 without it) and alone (BN-Baseline with it minus BN-Baseline). The effect is given in points of
final validation accuracy, and as the ratio of steps to the maximum of Inception. The two measurements differ
if changes depend on each other. Measured numbers, with n: results/ablation/table.md.

Deviations and assumptions: all accuracies use Algorithm 2's statistics at the end of training; a run that
diverged counts as chance. Differences and ratios compare the same seeds, with 95% intervals of Student's t
(of the logarithms, for ratios). Steps are those of experiments/networks.py. BN-x5 and its ablations train for
half the steps of BN-Baseline, as in figure2, so "all seven" compares trainings of different lengths. With BN,
activations have unit scale, where local response normalization with GoogLeNet's constants is the identity to
within 1e-3: its row shows the difference between two runs of the same seed.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bn.config import flatten, to_dict
from bn.errors import UserError
from bn.run.directory import RunDirectory
from experiments import collected, networks, style
from experiments.networks import Final

SWEEPS = {"figure2": ("experiment=inception",), "ablation": (), "switches": ()}
KEYS = {  # the config key that each switch changes
    "rate": "optim.lr_factor",
    "dropout": "model.dropout",
    "l2": "optim.weight_decay_factor",
    "decay": "optim.decay.speed",
    "lrn": "model.lrn",
    "shuffle": "data.shuffle",
    "distortion": "data.distortion",
}
LABEL = {
    "rate": "5 times the learning rate",
    "dropout": "no dropout",
    "l2": "L2 weight reduced 5 times",
    "decay": "learning rate decays 6 times faster",
    "lrn": "no local response normalization",
    "shuffle": "shuffling within shards",
    "distortion": "reduced photometric distortions",
    "all": "all seven: BN-x5 against BN-Baseline",
}
PAPER = {"shuffle": 1.0}  # points
WHOLE, PLAIN = "bn_x5", "bn_baseline"  # with all seven switches, and with none
ENDS = {
    WHOLE: ("in BN-x5: against BN-x5 without it", {**style.WITH, "marker": "o"}),
    PLAIN: ("alone: BN-Baseline with it against without", {"color": "#000000", "marker": "s"}),
}
ALL = {"color": style.STYLE["bn_x30"]["color"], "marker": "D"}
RATIOS = (0.1, 0.2, 0.3, 0.5, 0.7, 1, 1.5, 2, 3, 5, 7, 10, 20, 30)  # tick labels of a ratio axis


class Effect(NamedTuple):
    """The effect of a switch, on the same seeds with and without it."""

    points: list[float]  # of accuracy: with minus without
    with_it: list[Final]
    without: list[Final]

    @property
    def times_fewer(self) -> list[float] | None:
        """How many times fewer steps the switch needs, if both reach the level in all seeds."""
        return networks.times_fewer(self.with_it, self.without)


Groups = dict[tuple[str, str], list[Final]]  # (network, switch or "none"): its runs


def collect(runs: Sequence[RunDirectory], folder: Path) -> None:
    """Write accuracy.csv, final.csv and runs.json in the form of figure2, whose records are used too.

    A changed network is named by `name_of`.
    """
    gathered = networks.gather(runs, folder, folder.parent / "figure2", needed=(networks.BASE,))
    off = flatten(to_dict(next(run.config for run in runs if run.config.experiment == networks.BASE)))
    named = [
        training._replace(network=name_of(training.network, switch_of(run, off)))
        for run, training in zip(gathered.runs, gathered.trainings, strict=True)
    ]
    networks.write_trainings(folder, gathered._replace(trainings=named))


def name_of(network: str, switch: str) -> str:
    """ "bn_x5 without lrn", "bn_baseline with lrn"; for "none", the network's own name."""
    return network if switch == "none" else f"{network} {'without' if network == WHOLE else 'with'} {switch}"


def switch_of(run: RunDirectory, off: Mapping[str, Any]) -> str:
    """The switch that a run of BN-x5 reverts, or that a run of BN-Baseline sets; or "none".

    `off`: the flattened config of Inception, in which all switches are off.
    """
    config = flatten(to_dict(run.config))
    on = {name for name, key in KEYS.items() if config[key] != off[key]}
    changed = KEYS.keys() - on if run.config.experiment == WHOLE else on
    if len(changed) > 1:
        raise UserError(f"{run.name}: {', '.join(sorted(changed))}: accepted: one switch at a time")
    return changed.pop() if changed else "none"


def draw(folder: Path, out: Path) -> None:
    """Write ablation (png, svg, pdf), table.md and notes.md with its definitions."""
    document = collected.read_json(folder / "runs.json")
    groups, level = read_groups(folder)
    chance = 1 / document["config"]["data.classes"]
    found = {(end, switch): effect(groups, end, switch, chance) for end in ENDS for switch in KEYS} | {
        (WHOLE, "all"): difference(groups[WHOLE, "none"], groups[PLAIN, "none"], chance)
    }
    _draw(found, level, document["config"], out / "ablation")
    (out / "table.md").write_text(_table(found, document))
    (out / "notes.md").write_text(_notes(level, document["config"]))


def read_groups(folder: Path) -> tuple[Groups, float]:
    """The runs by network and switch, and the accuracy to which steps are counted."""
    found = [training for training, _ in networks.read_trainings(folder)]
    level = networks.base_maximum(found)
    wanted = [(networks.BASE, "none"), *((end, switch) for end in ENDS for switch in ("none", *KEYS))]
    groups = {
        (network, switch): [
            networks.final(training, level)
            for training in found
            if training.network == name_of(network, switch)
        ]
        for network, switch in wanted
    }
    return groups, level


def effect(groups: Groups, end: str, switch: str, chance: float) -> Effect:
    """The effect of a switch in one of the networks of ENDS."""
    changed, whole = groups[end, switch], groups[end, "none"]
    return difference(whole, changed, chance) if end == WHOLE else difference(changed, whole, chance)


def difference(with_it: Sequence[Final], without: Sequence[Final], chance: float) -> Effect:
    pairs = networks.paired(with_it, without)

    def accuracy(run: Final) -> float:
        return chance if run.accuracy is None else run.accuracy

    points = [100 * (accuracy(one) - accuracy(other)) for one, other in pairs]
    return Effect(points, [one for one, _ in pairs], [other for _, other in pairs])


def _draw(
    found: Mapping[tuple[str, str], Effect], level: float, config: Mapping[str, Any], stem: Path
) -> None:
    fig, (left, right) = style.figure(9.0, 4.4, columns=2, sharey=True)
    place = {switch: row for row, switch in enumerate((*KEYS, "all"))}
    for (end, switch), value in found.items():
        look = ALL if switch == "all" else ENDS[end][1]
        y = place[switch] + (0 if switch == "all" else -0.16 if end == WHOLE else 0.16)
        if value.points:
            mean, half = collected.mean_and_interval(value.points)
            _dot(left, mean, (mean - half, mean + half), value.points, y, look)
        if ratios := value.times_fewer:
            mean, *interval = collected.ratio_and_interval(ratios)
            _dot(right, mean, interval, ratios, y, look)
        elif value.points:
            right.annotate(
                _reached(value), (1, y), (-2, 0), xycoords=("axes fraction", "data"), va="center", ha="right",
                textcoords="offset points", fontsize=7, color=look["color"],
            )  # fmt: skip
    for label, look in ENDS.values():
        left.plot([], [], color=look["color"], marker=look["marker"], ms=5, lw=1.4, label=label)
    left.plot(
        [PAPER[switch] for switch in PAPER], [place[switch] + 0.38 for switch in PAPER], linestyle="none",
        marker="*", ms=9, mfc="white", mec="0.3", label="the paper, ImageNet: about 1 point",
    )  # fmt: skip
    left.axvline(0, color="0.4", lw=0.9, zorder=1)
    right.axvline(1, color="0.4", lw=0.9, zorder=1)
    left.set_yticks(list(place.values()), [LABEL[switch].replace(": ", ":\n") for switch in place])
    left.set_ylim(len(place) - 0.45, -0.55)
    left.set_xlabel("validation accuracy: points gained")
    right.set_xlabel(f"times fewer steps to {100 * level:.1f}%")
    right.set_xscale("log")
    low, high = right.get_xlim()
    right.set_xticks(ticks := [value for value in RATIOS if low <= value <= high], [f"{v:g}" for v in ticks])
    right.minorticks_off()
    for axis in (left, right):
        axis.grid(axis="y", visible=False)
        axis.tick_params(left=False)
        for row in range(0, len(place), 2):
            axis.axhspan(row - 0.5, row + 0.5, color="#f5f5f5", lw=0, zorder=-1)
    fig.suptitle(networks.setting(config), fontsize=9)
    fig.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    style.save(fig, stem)


def _dot(
    axis: Any,
    mean: float,
    interval: Sequence[float],
    seeds: Sequence[float],
    y: float,
    look: Mapping[str, Any],
) -> None:
    """Draw the mean, its interval if there is one, and the seeds."""
    if np.isfinite(interval).all():
        axis.plot(interval, [y, y], color=look["color"], lw=1.4, solid_capstyle="butt")
    axis.plot(seeds, [y] * len(seeds), "|", color=look["color"], ms=5, mew=0.8, alpha=0.6)
    axis.plot(mean, y, color=look["color"], marker=look["marker"], ms=5, zorder=3)


def _reached(value: Effect) -> str:
    """The number of seeds that reach the level, if a ratio of steps cannot be given."""
    with_it, without = (
        f"{sum(run.matched is not None for run in group)} of {len(group)}"
        for group in (value.with_it, value.without)
    )
    return f"reached by {with_it} with, {without} without"


def _table(found: Mapping[tuple[str, str], Effect], document: Mapping[str, Any]) -> str:
    lines = [
        "| change | the paper (ImageNet): gain (points) "
        "| in BN-x5: gain (points) | in BN-x5: times fewer steps | in BN-x5: seeds "
        "| alone: gain (points) | alone: times fewer steps | alone: seeds |",
        "|---|---|---|---|--:|---|---|--:|",
    ]
    for switch in KEYS:
        paper = f"about {PAPER[switch]:g}" if switch in PAPER else "-"
        cells = [cell for end in ENDS for cell in _cells(found[end, switch])]
        lines.append(f"| {LABEL[switch]} | {paper} | {' | '.join(cells)} |")
    lines.append(f"| {LABEL['all']} | - | {' | '.join(_cells(found[WHOLE, 'all']))} | - | - | - |")
    return collected.document(
        lines,
        '"In BN-x5" is BN-x5 against BN-x5 without this one change; "alone" is BN-Baseline with this one '
        "change against BN-Baseline. Each comparison is made seed by seed. ± is the half-width "
        "of the 95% confidence interval of a mean gain; a ratio of steps is a geometric mean with its 95% "
        f"interval in parentheses. {collected.origin(document)}",
    )


def _notes(level: float, config: Mapping[str, Any]) -> str:
    return collected.document(
        [networks.trained(config)],
        (
            "**Gain** is in points of validation accuracy (top-1, single crop) at the end of the training, "
            "by Algorithm 2's statistics. A run that diverged counts as chance.",
            f"**Steps** are those to the mean of Inception's maxima, {100 * level:.1f}%. Where not all seeds "
            "reach it, the table says how many do.",
            "**No local response normalization** changes nothing: in a network with BN, activations have "
            "unit scale, where local response normalization with GoogLeNet's constants is the identity to "
            "within 1e-3. This row shows the difference between two trainings of the same seed.",
            "**All seven** compares trainings of different lengths: BN-x5 trains for half the steps of "
            "BN-Baseline.",
        ),
        "Intervals are Student's t; for ratios, on the logarithms.",
    )


def _cells(value: Effect) -> tuple[str, str, str]:
    if not value.points:
        return "not trained", "-", "0"
    points = collected.mean_text(value.points, 2, "+")
    diverged = sum(run.diverged for run in (*value.with_it, *value.without))
    points += f" ({diverged} diverged)" if diverged else ""
    ratios = value.times_fewer
    return points, collected.ratio_text(ratios) if ratios else _reached(value), str(len(value.points))
