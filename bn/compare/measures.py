"""The measures of `runs.py table`: final and best values of a setting, and steps to a level.

Final values are taken from runs that are done; best values and steps to a level from all ended runs. With BN,
the final accuracy uses the statistics of Algorithm 2, and the best one the moving averages during training.
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
    heading: str  # final (%), or with several numbers accuracy final (%)
    values: list[float]  # one for each seed that has it
    of: int  # number of seeds
    factor: int = 1  # 100: shares, shown in percent
    digits: int | None = None  # after the decimal point; None: four significant digits
    bounds: int | None = None  # steps only: the first so many values are upper bounds

    def text(self) -> str:
        """Such as "12.34 ± 0.56"; "2 of 3: 100, 200" if a seed has no value; "≤ 100, 200" with a bound."""
        values = [self.factor * value for value in self.values]
        digits = self.digits if self.digits is not None else digits_of(values)
        if not self.bounds and len(values) == self.of:
            return mean_text(values, digits) if values else "-"
        each = [f"{'≤ ' * (i < (self.bounds or 0))}{value:,.{digits}f}" for i, value in enumerate(values)]
        if len(each) == self.of:  # bounds have no mean
            return each[0] if len(set(each)) == 1 else ", ".join(each)
        return f"{len(each)} of {self.of}{': ' * bool(each)}{', '.join(each)}"


def digits_of(values: Sequence[float]) -> int:
    largest = max((abs(value) for value in values), default=0.0)
    return min(10, max(0, 3 - math.floor(math.log10(largest)))) if largest else 2


def cells_of(
    group: Setting, rows: RowsByNumber, numbers: Sequence[str], levels: Sequence[float]
) -> list[Cell]:
    """The cells of a setting, in the order of the columns."""
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
        for kind, seeds, of in (("final", finals, len(done)), ("best", bests, len(bests))):
            found.append(Cell(f"{number}_{kind}", f"{name}{kind}{unit}", seeds, of, factor, digits))
    for level in levels:
        shown = f"{100 * level:g}%" if "accuracy" in numbers[0] else f"{level:g}"
        steps = [steps_to(level, logged_as(numbers[0], run), rows[run.path][numbers[0]]) for run in ended]
        reached = sorted(step for step in steps if step is not None)
        bounds = sum(not is_exact for is_exact, _ in reached)
        values = [step for _, step in reached]
        key, heading = f"steps_to_{level:g}", f"steps to {shown}"
        found.append(Cell(key, heading, values, len(ended), digits=0, bounds=bounds))
    return found


def final(run: Run, number: str, rows: Sequence[Row]) -> float | None:
    """The last value, or None. "accuracy" is Algorithm 2's if the network has BN."""
    if number == ACCURACY:
        return run.state.accuracy
    return rows[-1][number] if rows else None


def is_lower_better(number: str) -> bool:
    return number.endswith(("loss", "error"))


def steps_to(level: float, number: str, rows: Sequence[Row]) -> tuple[bool, float] | None:
    """(is exact, step) of reaching the level from the worse side; None if it is never reached.

    If the first logged value has reached it, the step is an upper bound, and not exact.
    """
    steps, values = curve(rows, number)
    if is_lower_better(number):
        level, values = -level, -values
    if not (values >= level).any():
        return None
    return bool(values[0] < level), crossing(steps, values, level)
