"""The verdicts and the registry of the rules of experiments/claims.yaml.

"Clearly" means that the 95% interval of Student's t, paired by seed, excludes zero (of a ratio, one).
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from experiments import collected

CONFIRMED, PARTLY, NOT_CONFIRMED = "confirmed", "partly", "not confirmed"


class Judged(NamedTuple):
    verdict: str
    result: str  # the numbers behind it


Rule = Callable[[Path], Judged]  # applied to results/
RULES: dict[int, Rule] = {}


def rule(number: int) -> Callable[[Rule], Rule]:
    def register(function: Rule) -> Rule:
        RULES[number] = function
        return function

    return register


def clearly(values: Sequence[float]) -> int:
    """1 if the 95% interval of the mean lies above zero, -1 if below, 0 if it contains zero."""
    mean, half = collected.mean_and_interval(values)
    return int(mean - half > 0) - int(mean + half < 0)


def clearly_above_one(ratios: Sequence[float]) -> bool:
    return collected.ratio_and_interval(ratios)[1] > 1


def graded(confirmed: bool, partly: bool, result: str) -> Judged:
    return Judged(CONFIRMED if confirmed else PARTLY if partly else NOT_CONFIRMED, result)
