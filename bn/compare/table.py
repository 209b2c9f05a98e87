"""`runs.py table`: mean and interval over the seeds of each setting, of final and best values, and the steps
to a level.

Final values are those of the runs that are done; best values and steps to a level those of the runs that have
ended. The final accuracy is Algorithm 2's, if the network has BN; the best is over the evaluations while it
trained, with moving averages.
"""

import argparse
import csv
import math
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import wrap
from typing import NamedTuple

from bn.compare.filters import asked_for
from bn.compare.rows import ACCURACY, Row, curve, logged_as, readable, rows_of
from bn.compare.runs import Run
from bn.compare.settings import Setting, settings, short_names, without_config
from bn.compare.terminal import width
from bn.errors import UserError, printable
from bn.files import Damaged, read_record
from bn.intervals import crossing, mean_and_interval, mean_text
from bn.run.directory import ENDED, ENV
from bn.run.state import STATES

NOTE = (
    "Mean ± half-width of the 95% confidence interval over the seeds. Final: of the runs that are done. Best "
    "and steps to a level: of those that have ended. Steps: interpolated between the logged ones."
)


class Cell(NamedTuple):
    """One measure of one setting."""

    name: str
    values: list[float]  # of the seeds that have one
    of: int  # the number of seeds that could have one
    digits: int | None = None  # after the point; None: four in all

    def text(self) -> str:
        """12.34 ± 0.56; "2 of 3: 100, 200" where some seeds have none."""
        digits = self.digits if self.digits is not None else digits_of(self.values)
        if len(self.values) < self.of:
            each = ", ".join(f"{value:,.{digits}f}" for value in self.values)
            return f"{len(self.values)} of {self.of}: {each}" if self.values else f"0 of {self.of}"
        return mean_text(self.values, digits) if self.values else "-"


def digits_of(values: Sequence[float]) -> int:
    largest = max((abs(value) for value in values), default=0.0)
    return min(10, max(0, 3 - math.floor(math.log10(largest)))) if largest else 2


def main(arguments: argparse.Namespace) -> None:
    runs = asked_for(arguments)
    numbers = arguments.value or [ACCURACY]
    check_levels(numbers[0], arguments.level)
    read, complaints = readable(
        runs, lambda run: {name: rows_of(run.path, logged_as(name, run)) for name in numbers}
    )
    check_numbers(numbers, read)
    complaints += without_config(runs)
    groups = settings([run for run, _ in read])
    rows = {run.path: found for run, found in read}
    cells = [cells_of(group, rows, numbers, arguments.level) for group in groups]
    if not arguments.value:  # one number, which the note names
        cells = [
            [cell._replace(name=cell.name.removeprefix(f"{ACCURACY} ")) for cell in row] for row in cells
        ]
    if arguments.csv:
        write_csv(groups, cells)
    else:
        names = sorted({logged_as(number, run) for number in numbers for run, _ in read})
        note = f"{', '.join(names)}. {NOTE} {origin([run for run, _ in read])}"
        print(*tables(groups, cells, width()), "", *wrap(note, min(width(), 10_000)), sep="\n")
    for line in complaints:
        print(f"runs.py: {line}", file=sys.stderr)


def check_levels(number: str, levels: Sequence[float]) -> None:
    for level in levels:
        if "accuracy" in number and not 0 <= level <= 1:
            raise UserError(f"--level={level:g}: accepted: a share of 1, such as 0.9, of an accuracy")


def check_numbers(numbers: Sequence[str], read: Sequence[tuple[Run, dict[str, list[Row]]]]) -> None:
    """UserError for a number that none of the runs has logged."""
    for number in numbers:
        if any(run.state.step for run, _ in read) and not any(found[number] for _, found in read):
            known = sorted({key for run, _ in read for row in rows_of(run.path)[-1:] for key in row})
            raise UserError(f"--value={number}: no run here has logged it; accepted: {', '.join(known)}")


def cells_of(
    group: Setting, rows: Mapping[Path, dict[str, list[Row]]], numbers: Sequence[str], levels: Sequence[float]
) -> list[Cell]:
    """What is measured of a setting, in the order of the columns."""
    done = [run for run in group.runs if run.state.state == "done"]
    ended = [run for run in group.runs if run.state.state in ENDED]
    found = []
    for number in numbers:
        share = 100 if "accuracy" in number else 1
        unit, digits = (" (%)", 2) if share == 100 else ("", None)
        best = min if is_lower_better(number) else max
        last = [final(run, number, rows[run.path][number]) for run in done]
        values = [curve(rows[run.path][number], logged_as(number, run))[1] for run in ended]
        bests = [share * float(best(value)) for value in values if len(value)]
        finals = [share * value for value in last if value is not None]
        found.append(Cell(f"{number} final{unit}", finals, len(done), digits))
        found.append(Cell(f"{number} best{unit}", bests, len(bests), digits))
    for level in levels:
        shown = f"{100 * level:g}%" if "accuracy" in numbers[0] else f"{level:g}"
        steps = [steps_to(level, logged_as(numbers[0], run), rows[run.path][numbers[0]]) for run in ended]
        found.append(Cell(f"steps to {shown}", [step for step in steps if step is not None], len(ended), 0))
    return found


def final(run: Run, number: str, rows: Sequence[Row]) -> float | None:
    """The last value; of "accuracy" Algorithm 2's, if there is one. None where there is none."""
    if number == ACCURACY:
        return run.state.accuracy
    return rows[-1][number] if rows else None


def is_lower_better(number: str) -> bool:
    return number.endswith(("loss", "error"))


def steps_to(level: float, number: str, rows: Sequence[Row]) -> float | None:
    """The step at which the number reaches the level, from its worse side; None if it never does."""
    steps, values = curve(rows, number)
    if is_lower_better(number):
        level, values = -level, -values
    return crossing(steps, values, level) if (values >= level).any() else None


def runs_text(group: Setting) -> str:
    """5 done; 4 done, 1 diverged."""
    states = Counter(run.state.state for run in group.runs)
    return ", ".join(f"{states[state]} {state}" for state in STATES if states[state])


def tables(groups: Sequence[Setting], cells: Sequence[Sequence[Cell]], width: int) -> list[str]:
    """The lines of a Markdown table; on a narrow terminal of several, each with the settings' columns."""
    if not groups:
        return ["no runs"]
    short = short_names(list(groups[0].values))
    header = ["experiment", *short.values(), "runs"]
    settings = [[group.experiment, *group.values.values(), runs_text(group)] for group in groups]
    own = [list(column) for column in zip(header, *settings, strict=True)]
    measures = [[column[0].name, *(cell.text() for cell in column)] for column in zip(*cells, strict=True)]
    lines: list[str] = []
    part: list[list[str]] = []
    for measure in measures:
        if part and len(markdown([*own, *part, measure])[0]) > width:
            lines += [*markdown([*own, *part]), ""]
            part = []
        part.append(measure)
    return [*lines, *markdown([*own, *part])]


def markdown(columns: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a table, aligned also where it is read as text; its columns begin with their headings."""
    texts = [[printable(text).replace("|", "\\|") for text in column] for column in columns]
    padded = [[text.ljust(max(map(len, column))) for text in column] for column in texts]
    head, *rows = (f"| {' | '.join(row)} |" for row in zip(*padded, strict=True))
    return [head, f"|{'|'.join('-' * (len(column[0]) + 2) for column in padded)}|", *rows]


def write_csv(groups: Sequence[Setting], cells: Sequence[Sequence[Cell]]) -> None:
    """Of each measure the mean, the half-width of its interval, and the number of seeds that have it."""
    if not groups:
        return
    writer = csv.writer(sys.stdout, lineterminator="\n")
    names = [part for cell in cells[0] for part in (cell.name, f"{cell.name}, interval", f"{cell.name}, n")]
    writer.writerow(["experiment", *groups[0].values, *STATES, *names])
    for group, found in zip(groups, cells, strict=True):
        states = Counter(run.state.state for run in group.runs)
        numbers = [part for cell in found for part in _numbers_of(cell)]
        counts = [states[state] for state in STATES]
        writer.writerow([group.experiment, *group.values.values(), *counts, *numbers])


def _numbers_of(cell: Cell) -> tuple[object, object, int]:
    if not cell.values:
        return "", "", 0
    mean, half = mean_and_interval(cell.values)
    return mean, "" if math.isnan(half) else half, len(cell.values)


def origin(runs: Sequence[Run]) -> str:
    """Where the numbers come from: how many runs, on which devices, with which torch and commits."""
    found: dict[str, set[str]] = {"device": set(), "torch": set(), "commit": set()}
    for run in runs:
        try:
            env = read_record(run.path / "env.json", ENV)
        except Damaged:
            continue
        if env:
            found["device"].add(env["device"]["name"])
            found["torch"].add(env["torch"])
            found["commit"].add((env["commit"] or "unknown")[:7] + "+changes" * bool(env["dirty"]))
    said = [
        f"{name}{'s' * (name == 'commit' and len(values) > 1)} {', '.join(sorted(values))}"
        for name, values in found.items()
        if values
    ]
    return printable("; ".join([f"{len(runs)} run{'s' * (len(runs) != 1)}", *said]) + ".")
