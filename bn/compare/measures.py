"""What `runs.py table` measures of a setting: final and best values, and the steps to a level.

Final values are those of the runs that are done; best values and steps to a level those of the runs that have
ended. The final accuracy is Algorithm 2's, if the network has BN; the best is over the evaluations while it
trained, with moving averages.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

from bn.compare.intervals import crossing, mean_text
from bn.compare.rows import ACCURACY, Row, RowsByNumber, curve, logged_as
from bn.compare.runs import Run
from bn.compare.settings import Setting
from bn.run.directory import ENDED


class Cell(NamedTuple):
    """One measure of one setting."""

    key: str  # accuracy_final
    heading: str  # final (%), or accuracy final (%) among several numbers
    values: list[float]  # of the seeds that have one
    of: int  # the number of seeds that could have one
    factor: int = 1  # 100: shares, which are shown in percent
    digits: int | None = None  # after the point; None: four in all
    bounds: int | None = None  # of steps: how many of the values are upper bounds; these come first

    def text(self) -> str:
        """12.34 ± 0.56; "2 of 3: 100, 200" where some seeds have none; "≤ 100, 200" where one is a bound."""
        values = [self.factor * value for value in self.values]
        digits = self.digits if self.digits is not None else digits_of(values)
        if not self.bounds and len(values) == self.of:
            return mean_text(values, digits) if values else "-"
        each = [f"{'≤ ' * (i < (self.bounds or 0))}{value:,.{digits}f}" for i, value in enumerate(values)]
        if len(each) == self.of:  # no mean of what is not known: all that is the same, or each
            return each[0] if len(set(each)) == 1 else ", ".join(each)
        return f"{len(each)} of {self.of}{': ' * bool(each)}{', '.join(each)}"


def digits_of(values: Sequence[float]) -> int:
    largest = max((abs(value) for value in values), default=0.0)
    return min(10, max(0, 3 - math.floor(math.log10(largest)))) if largest else 2


def cells_of(
    group: Setting, rows: RowsByNumber, numbers: Sequence[str], levels: Sequence[float]
) -> list[Cell]:
    """What is measured of a setting, in the order of the columns."""
    done = [run for run in group.runs if run.state.state == "done"]
    ended = [run for run in group.runs if run.state.state in ENDED]
    found = []
    for number in numbers:
        factor, unit, digits = (100, " (%)", 2) if "accuracy" in number else (1, "", None)
        best = min if is_lower_better(number) else max
        last = [final(run, number, rows[run.path][number]) for run in done]
        values = [curve(rows[run.path][number], logged_as(number, run))[1] for run in ended]
        finals = [value for value in last if value is not None]
        bests = [float(best(value)) for value in values if len(value)]
        name = f"{number} " * (len(numbers) > 1)
        for what, seeds, of in (("final", finals, len(done)), ("best", bests, len(bests))):
            found.append(Cell(f"{number}_{what}", f"{name}{what}{unit}", seeds, of, factor, digits))
    for level in levels:
        shown = f"{100 * level:g}%" if "accuracy" in numbers[0] else f"{level:g}"
        steps = [steps_to(level, logged_as(numbers[0], run), rows[run.path][numbers[0]]) for run in ended]
        reached = sorted(step for step in steps if step is not None)
        bounds = sum(not later for later, _ in reached)
        values = [step for _, step in reached]
        key, heading = f"steps_to_{level:g}", f"steps to {shown}"
        found.append(Cell(key, heading, values, len(ended), digits=0, bounds=bounds))
    return found


def final(run: Run, number: str, rows: Sequence[Row]) -> float | None:
    """The last value; of "accuracy" Algorithm 2's, if there is one. None where there is none."""
    if number == ACCURACY:
        return run.state.accuracy
    return rows[-1][number] if rows else None


def is_lower_better(number: str) -> bool:
    return number.endswith(("loss", "error"))


def steps_to(level: float, number: str, rows: Sequence[Row]) -> tuple[bool, float] | None:
    """The step at which the number reaches the level, from its worse side; None if it never does.

    And first whether it was logged before: else the step is an upper bound.
    """
    steps, values = curve(rows, number)
    if is_lower_better(number):
        level, values = -level, -values
    if not (values >= level).any():
        return None
    return bool(values[0] < level), crossing(steps, values, level)
