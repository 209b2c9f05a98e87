"""The rules on batch normalization as a regularizer."""

from collections.abc import Mapping
from pathlib import Path

from experiments import ablation, collected, regularization
from experiments.regularization import effect
from experiments.verdicts.judged import (
    CONFIRMED,
    NOT_CONFIRMED,
    RULES,
    Judged,
    clearly,
    graded,
    rule,
)


def _shown(points: Mapping[str, list[float]]) -> str:
    return ", ".join(f"{name} {collected.mean_text(values, 2, '+')}" for name, values in points.items())


def _by_size(results: Path, one: str, other: str) -> dict[str, list[float]]:
    found = regularization.read(results / "regularization")
    return {
        f"{size:,} examples": effect(seeds, found[other][size]) for size, seeds in sorted(found[one].items())
    }


@rule(43)
def _noise_helps(results: Path) -> Judged:
    points = _by_size(results, "bn", "population")
    clear = [clearly(values) > 0 for values in points.values()]
    return graded(
        all(clear), any(clear),
        f"gain from the mini-batch's statistics over the population's (points): {_shown(points)}",
    )  # fmt: skip


@rule(44)
def _no_dropout(results: Path) -> Judged:
    folder = results / "ablation"
    chance = 1 / collected.read_json(folder / "runs.json")["config"]["data.classes"]
    groups, _ = ablation.read_groups(folder)
    points = {
        "BN-x5": list(ablation.effect(groups, ablation.WHOLE, "dropout", chance).points),
        **_by_size(results, "bn", "bn_dropout"),
    }
    worse = [clearly(values) < 0 for values in points.values()]
    return graded(
        not any(worse), not all(worse),
        f"accuracy without dropout minus with it (points): {_shown(points)}",
    )  # fmt: skip


@rule(59)
def _in_line_with_a_regularizer(results: Path) -> Judged:
    verdicts = {number: RULES[number](results).verdict for number in (43, 58)}
    return graded(
        all(verdict == CONFIRMED for verdict in verdicts.values()),
        any(verdict != NOT_CONFIRMED for verdict in verdicts.values()),
        "; ".join(f"claim {number}: {verdict}" for number, verdict in verdicts.items()),
    )
