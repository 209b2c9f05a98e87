"""The rules on Figures 2 to 5 and the experiments around them."""

import json
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from statistics import fmean

from bn.models.inception import MODULES
from experiments import ablation, collected, figure5, lrn, networks, rate_tolerance, style
from experiments.networks import Final
from experiments.verdicts.judged import (
    NOT_CONFIRMED,
    RULES,
    Judged,
    clearly,
    clearly_above_one,
    graded,
    rule,
)

UNREACHED = "not all seeds reach Inception's maximum"


def _finals(results: Path) -> dict[str, list[Final]]:
    found = [training for training, _ in networks.read_trainings(results / "figure3")]
    level = networks.base_maximum(found)
    return {
        name: [networks.final(training, level) for training in group]
        for name, group in networks.by_network(found).items()
    }


def _ratios(results: Path, network: str) -> list[float]:
    """How many times fewer steps than Inception; [] if a seed never reaches the level."""
    finals = _finals(results)
    return networks.times_fewer(finals[network], finals[networks.BASE]) or []


def _times(results: Path, network: str, paper: float) -> Judged:
    ratios = _ratios(results, network)
    if not ratios:
        return Judged(NOT_CONFIRMED, UNREACHED)
    _, low, high = collected.ratio_and_interval(ratios)
    return graded(high >= paper, low > 1, f"{collected.ratio_text(ratios)} times fewer steps")


@rule(6)
def _higher_rates(results: Path) -> Judged:
    document = collected.read_json(results / "rate_tolerance" / "runs.json")
    grid = rate_tolerance.read_grid(results / "rate_tolerance", 1 / document["config"]["data.classes"])
    plain, with_bn = (rate_tolerance.largest(grid[name]) or 0 for name in (networks.BASE, "bn_baseline"))
    return graded(
        with_bn >= 5 * plain, with_bn > plain,
        f"Inception trains up to {plain:g} times the base's rate, BN-Baseline up to {with_bn:g} times",
    )  # fmt: skip


RULES[7] = lambda results: _times(results, "bn_x5", 14.3)
RULES[63] = lambda results: _times(results, "bn_x5", 14)


@rule(61)
def _order(results: Path) -> Judged:
    order = ("bn_x5", "bn_x30", "bn_baseline", networks.BASE)
    finals = _finals(results)
    reached = [
        (name, fmean(run.matched or 0 for run in finals[name]))
        for name in order
        if all(run.matched is not None for run in finals[name])
    ]
    in_order = all(one < other for (_, one), (_, other) in pairwise(reached))
    shown = ", ".join(f"{name} {steps:,.0f}" for name, steps in reached)
    return graded(
        in_order and len(reached) == len(order), in_order, f"steps, where all seeds reach it: {shown}"
    )


@rule(62)
def _half(results: Path) -> Judged:
    ratios = _ratios(results, "bn_baseline")
    if not ratios:
        return Judged(NOT_CONFIRMED, UNREACHED)
    mean, low, _ = collected.ratio_and_interval(ratios)
    return graded(low > 2, mean > 2, f"{collected.ratio_text(ratios)} times fewer steps")


@rule(64)
def _x30(results: Path) -> Judged:
    finals = _finals(results)
    gains = [
        100 * ((one.accuracy or 0) - (other.accuracy or 0))
        for one, other in networks.paired(finals["bn_x30"], finals["bn_x5"])
    ]
    level = networks.base_maximum(finals[networks.BASE])
    low = [
        training
        for training, _ in networks.read_trainings(results / "paper_rate")
        if training.network == "bn_x30"
    ]
    ends = [100 * (training.final or 0) for training in low]
    return graded(
        clearly(gains) > 0, bool(ends) and min(ends) > 100 * level,
        f"against BN-x5 at the end: {collected.mean_text(gains, 2, '+')} points; at the paper's base rate "
        f"it ends at {collected.mean_text(ends, 2)}% ({len(ends)} seeds)",
    )  # fmt: skip


@rule(65)
def _x5_diverges(results: Path) -> Judged:
    finals = _finals(results)
    runs = finals["inception_x5"]
    below = [
        100 * (other.maximum - one.maximum) for one, other in networks.paired(runs, finals[networks.BASE])
    ]
    diverged = sum(run.diverged for run in runs)
    return graded(
        diverged == len(runs), clearly(below) > 0,
        f"{diverged} of {len(runs)} reach NaN or infinity; maximum {collected.mean_text(below, 2)} points "
        "below Inception's",
    )  # fmt: skip


@rule(66)
def _sigmoid_with(results: Path) -> Judged:
    finals = _finals(results)
    runs = finals["bn_x5_sigmoid"]
    below = [100 * (other.maximum - one.maximum) for one, other in networks.paired(runs, finals["bn_x5"])]
    trains = not any(run.at_chance or run.diverged for run in runs)
    return graded(
        trains and 0 < fmean(below) < 5, trains,
        f"maximum {collected.mean_text(below, 2)} points below BN-x5's",
    )  # fmt: skip


@rule(67)
def _sigmoid_without(results: Path) -> Judged:
    runs = _finals(results)["inception_sigmoid"]
    at_chance = sum(run.at_chance for run in runs)
    return graded(at_chance == len(runs), False, f"{at_chance} of {len(runs)} seeds at chance")


@rule(68)
def _crops_and_ensembles(results: Path) -> Judged:
    records = {
        (record["experiment"], record["crops"]): record
        for record in json.loads((results / "figure4" / "evaluations.json").read_text())
    }

    def errors(experiment: str, crops: int) -> list[float]:
        record = records[experiment, crops]
        return [100 * (1 - network["top1_correct"] / record["n"]) for network in record["checkpoints"]]

    chance = 100 * (1 - 1 / records["ensemble", 1]["data"]["classes"])
    pairs = [
        (one, many)
        for name in ("bn_x30", "ensemble")
        for one, many in zip(errors(name, 1), errors(name, 144), strict=True)
        if one < chance
    ]
    whole = records["ensemble", 144]
    together, alone = 100 * (1 - whole["top1_correct"] / whole["n"]), errors("ensemble", 144)
    crops_help = all(many < one for one, many in pairs)
    return graded(
        crops_help and together < min(alone), crops_help and together < fmean(alone),
        f"144 crops lower the error of {sum(many < one for one, many in pairs)} of {len(pairs)} trained "
        f"networks; the six together have {together:.2f}% error, alone {min(alone):.2f} to {max(alone):.2f}, "
        f"mean {fmean(alone):.2f}",
    )  # fmt: skip


# The seven changes


def _effects(results: Path, switch: str) -> list[tuple[str, ablation.Effect]]:
    """The effects of a change in BN-x5 and alone, if there are records."""
    folder = results / "ablation"
    document = collected.read_json(folder / "runs.json")
    (groups, _), chance = ablation.read_groups(folder), 1 / document["config"]["data.classes"]
    found = [
        (name, ablation.effect(groups, end, switch, chance))
        for name, end in (("in BN-x5", ablation.WHOLE), ("alone", ablation.PLAIN))
    ]
    return [(name, value) for name, value in found if value.points]


def _points(found: Sequence[tuple[str, ablation.Effect]]) -> str:
    return ", ".join(f"{name} {collected.mean_text(value.points, 2, '+')} points" for name, value in found)


def _steps(found: Sequence[tuple[str, ablation.Effect]]) -> str:
    shown = [
        f"{name} {collected.ratio_text(ratios)} times fewer steps"
        for name, value in found
        if (ratios := value.times_fewer)
    ]
    return ", ".join(shown)


def _saves_without_harm(results: Path, switch: str) -> Judged:
    found = _effects(results, switch)
    good = [
        (ratios := value.times_fewer) is not None and clearly_above_one(ratios) and clearly(value.points) >= 0
        for _, value in found
    ]
    return graded(all(good), any(good), f"{_steps(found)}; {_points(found)}")


@rule(52)
def _not_full_advantage(results: Path) -> Judged:
    groups, _ = ablation.read_groups(results / "ablation")
    ratios = networks.times_fewer(groups[ablation.WHOLE, "none"], groups[ablation.PLAIN, "none"])
    if not ratios:
        return Judged(NOT_CONFIRMED, UNREACHED)
    return graded(
        clearly_above_one(ratios), collected.ratio_and_interval(ratios)[0] > 1,
        f"BN-x5 needs {collected.ratio_text(ratios)} times fewer steps than BN-Baseline",
    )  # fmt: skip


RULES[53] = lambda results: _saves_without_harm(results, "rate")
RULES[54] = lambda results: _saves_without_harm(results, "dropout")


@rule(55)
def _less_l2(results: Path) -> Judged:
    found = _effects(results, "l2")
    good = [clearly(value.points) > 0 for _, value in found]
    return graded(all(good), any(good), _points(found))


@rule(56)
def _faster_decay(results: Path) -> Judged:
    found = _effects(results, "decay")[:1]
    sign = clearly(found[0][1].points)
    return graded(sign > 0, sign == 0, _points(found))


@rule(57)
def _lrn(results: Path) -> Judged:
    found = lrn.effects(results / "lrn")
    helps, needed = (clearly(found[name].points) > 0 for name in (networks.BASE, ablation.WHOLE))
    shown = _points([(f"in {style.LABEL[name]}", effect) for name, effect in found.items()])
    return graded(helps and not needed, not needed, f"LRN gains: {shown}")


@rule(58)
def _shuffling(results: Path) -> Judged:
    found = _effects(results, "shuffle")
    return graded(
        all(clearly(value.points) > 0 for _, value in found),
        all(fmean(value.points) > 0 for _, value in found),
        _points(found),
    )


@rule(60)
def _less_distortion(results: Path) -> Judged:
    found = _effects(results, "distortion")[:1]
    points = found[0][1].points
    return graded(clearly(points) > 0, fmean(points) > 0, _points(found))


# Figure 5


@rule(49)
def _parameters(_: Path) -> Judged:
    totals = [
        sum(row.parameters for row in figure5.counted(pool_proj=proj, stem=stem)) / 1e6
        for proj in (96, 128)
        for stem in ("separable", "dense")
    ]
    shown = ", ".join(f"{total:.2f}M" for total in totals)
    return graded(any(round(total, 1) == 13.6 for total in totals), False, f"counted: {shown}")


@rule(50)
def _filters(_: Path) -> Judged:
    most = max(row.double_3x3 for row in MODULES)
    return graded(most <= 128, False, f"up to {most}")


@rule(78)
def _layers(_: Path) -> Judged:
    layers = 2 + 3 * len(MODULES) + 1
    return graded(layers == 31, False, f"depth {layers}, {layers + 1} with the 1x1 of the stem")


def _more(name: str, googlenet: float, low: float, high: float) -> Judged:
    more = sum(getattr(row, name) for row in figure5.counted()) / googlenet - 1
    return graded(low <= more <= high, False, f"{more:+.0%}")


RULES[79] = lambda _: _more("parameters", figure5.GOOGLENET_PARAMETERS, 0.2, 0.3)
RULES[80] = lambda _: _more("multiply_adds", figure5.GOOGLENET_MULTIPLY_ADDS, 0.25, 0.35)
