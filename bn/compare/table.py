"""`runs.py table`: mean and confidence interval over the seeds of each setting, as Markdown or CSV."""

import argparse
import math
import sys
from collections import Counter
from collections.abc import Sequence
from textwrap import wrap

from bn.compare.environment import starts_of
from bn.compare.filters import select_some
from bn.compare.intervals import mean_and_interval
from bn.compare.measures import Cell, cells_of
from bn.compare.rows import ACCURACY, logged_as, readable, rows_by_number
from bn.compare.runs import Run
from bn.compare.settings import LONGEST, Setting, samples, short_names
from bn.compare.terminal import csv_line, shortened, width
from bn.errors import UserError, printable
from bn.run.state import STATES


def main(arguments: argparse.Namespace) -> None:
    runs = select_some(arguments.what)
    numbers, levels = arguments.value or [ACCURACY], arguments.level
    for level in levels:
        if "accuracy" in numbers[0] and not 0 <= level <= 1:
            raise UserError(f"--level={level:g}: accepted: an accuracy as a share of 1, such as 0.9")
    rows, complaints = rows_by_number("--value", runs, numbers)
    groups, left_out = samples([run for run in runs if run.path in rows])
    cells = [cells_of(group, rows, numbers, levels) for group in groups]
    if groups and arguments.csv:
        print(*csv_lines(groups, cells), sep="\n")
    elif groups:
        text = note([run for group in groups for run in group.runs], numbers, bool(levels))
        print(*markdown(groups, cells, width()), "", *wrap(text, min(width(), 10_000)), sep="\n")
    for line in (*complaints, *left_out):
        print(f"runs.py: {line}", file=sys.stderr)


def note(runs: Sequence[Run], numbers: Sequence[str], has_levels: bool) -> str:
    """The note below the table: definitions of the numbers, and the origin of the runs."""
    names = sorted({logged_as(number, run) for number in numbers for run in runs})
    text = (
        f"The table has {', '.join(names)}: the mean over the seeds ± the half-width of its 95% confidence "
        "interval. Final is at the last step of runs that are done, best is during training of all runs that "
        "have ended. "
    )
    last = {run.state.accuracy_of or "" for run in runs if run.state.state == "done" and ACCURACY in numbers}
    if population := sorted(name for name in last if name.endswith("_population")):
        text += (
            f"With BN, final is {', '.join(population)}, with the statistics of Algorithm 2. Best uses "
            "moving averages, so it may be below final. "
        )
    if has_levels:
        text += (
            "Steps to a level are interpolated between logged steps; ≤ means that the first logged value "
            "reached it. "
        )
    read, _ = readable(runs, lambda run: starts_of(run.path)[:1])
    origin = [f"{len(runs)} run{'s' * (len(runs) != 1)}"]
    for name in ("processor", "device", "torch", "commit"):
        if values := sorted({start[name] for _, starts in read for start in starts if name in start}):
            origin.append(f"{name} {', '.join(values)}")
    return printable(f"{text}{'; '.join(origin)}.")


def runs_text(group: Setting) -> str:
    """Such as "4 done, 1 diverged"."""
    states = Counter(run.state.state for run in group.runs)
    return ", ".join(f"{states[state]} {state}" for state in STATES if states[state])


def markdown(groups: Sequence[Setting], cells: Sequence[Sequence[Cell]], width: int) -> list[str]:
    """The lines of a Markdown table. If it is too wide, settings are numbered and listed above it."""
    measures = [[column[0].heading, *(cell.text() for cell in column)] for column in zip(*cells, strict=True)]
    measures.insert(0, ["runs", *map(runs_text, groups)])
    own = [
        [name, *(shortened(group.values[key], LONGEST) for group in groups)]
        for key, name in short_names(list(groups[0].values)).items()
    ]
    lines = aligned([["experiment", *(group.experiment for group in groups)], *own, *measures])
    if len(lines[0]) <= width:
        return lines
    lines, numbers = [], ["setting"]
    for i, group in enumerate(groups, start=1):
        name = f"{i}. {printable(group.name())}"
        lines += wrap(name, width, subsequent_indent="   ", break_on_hyphens=False)
        numbers.append(str(i))
    return [*lines, "", *aligned([numbers, *measures])]


def csv_lines(groups: Sequence[Setting], cells: Sequence[Sequence[Cell]]) -> list[str]:
    """A header, and a line for each setting: its values, then the number of its runs in each state.

    Each measure follows with its mean, the half-width of its interval and the number of seeds that have it.
    Steps to a level also have the number of upper bounds; if there are any, mean and half-width are empty.
    Accuracies are shares of 1.
    """
    header = ["experiment", *groups[0].values, *STATES]
    for cell in cells[0]:
        header += [cell.key, f"{cell.key}_interval", f"{cell.key}_n"]
        header += [f"{cell.key}_n_at_first"] * (cell.bounds is not None)
    lines = [csv_line(header)]
    for group, row in zip(groups, cells, strict=True):
        states = Counter(run.state.state for run in group.runs)
        values: list[object] = [
            group.experiment,
            *group.values.values(),
            *(states[state] for state in STATES),
        ]
        for cell in row:
            known = (
                mean_and_interval(cell.values) if cell.values and not cell.bounds else (math.nan, math.nan)
            )
            values += [None if math.isnan(value) else f"{value:.10g}" for value in known]
            values += [len(cell.values), *([] if cell.bounds is None else [cell.bounds])]
        lines.append(csv_line(values))
    return lines


def aligned(columns: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a Markdown table, aligned to be readable as text; columns begin with their headings."""
    texts = [[printable(text).replace("|", "\\|") for text in column] for column in columns]
    padded = [[text.ljust(max(map(len, column))) for text in column] for column in texts]
    head, *rows = (f"| {' | '.join(row)} |" for row in zip(*padded, strict=True))
    return [head, f"|{'|'.join('-' * (len(column[0]) + 2) for column in padded)}|", *rows]
