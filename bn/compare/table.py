"""`runs.py table`: mean and interval over the seeds of each setting, as Markdown or CSV."""

import argparse
import math
import sys
from collections import Counter
from collections.abc import Sequence
from textwrap import wrap

from bn.compare.facts import starts_of
from bn.compare.filters import some_chosen
from bn.compare.intervals import mean_and_interval
from bn.compare.measures import Cell, cells_of
from bn.compare.rows import ACCURACY, logged_as, readable, rows_by_number
from bn.compare.runs import Run
from bn.compare.settings import LONGEST, Setting, samples, short_names
from bn.compare.terminal import csv_line, shortened, width
from bn.errors import UserError, printable
from bn.run.state import STATES


def main(arguments: argparse.Namespace) -> None:
    runs = some_chosen(arguments.what)
    numbers, levels = arguments.value or [ACCURACY], arguments.level
    for level in levels:
        if "accuracy" in numbers[0] and not 0 <= level <= 1:
            raise UserError(f"--level={level:g}: accepted: a share of 1, such as 0.9, of an accuracy")
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
    """What the numbers are, and where they come from."""
    names = sorted({logged_as(number, run) for number in numbers for run in runs})
    text = (
        f"{', '.join(names)}: mean ± half-width of the 95% confidence interval over the seeds. Final: at the "
        "last step, of the runs that are done. Best: during training, of the runs that have ended. "
    )
    last = {run.state.accuracy_of or "" for run in runs if run.state.state == "done" and ACCURACY in numbers}
    if population := sorted(name for name in last if name.endswith("_population")):
        text += (
            f"With BN final is {', '.join(population)}, with the statistics of Algorithm 2, and best by "
            "moving averages, so it may be below final. "
        )
    if has_levels:
        text += "Steps to a level: interpolated between the logged ones; ≤ where the first had reached it. "
    read, _ = readable(runs, lambda run: starts_of(run.path)[:1])
    origin = [f"{len(runs)} run{'s' * (len(runs) != 1)}"]
    for name in ("processor", "device", "torch", "commit"):
        if values := sorted({start[name] for _, starts in read for start in starts if name in start}):
            origin.append(f"{name} {', '.join(values)}")
    return printable(f"{text}{'; '.join(origin)}.")


def runs_text(group: Setting) -> str:
    """5 done; 4 done, 1 diverged."""
    states = Counter(run.state.state for run in group.runs)
    return ", ".join(f"{states[state]} {state}" for state in STATES if states[state])


def markdown(groups: Sequence[Setting], cells: Sequence[Sequence[Cell]], width: int) -> list[str]:
    """The lines of a Markdown table. Where it is too wide, settings have numbers, and come first in words."""
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
    """A header, and a line for each setting: its values, and how many of its runs are in each state.

    Then of each measure the mean, the half-width of its interval, and the number of seeds that have it; of
    steps to a level also how many had reached it when it was first logged, where mean and half-width are
    empty, since these are bounds. Accuracies are shares of 1.
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
    """The lines of a table, aligned also where it is read as text; its columns begin with their headings."""
    texts = [[printable(text).replace("|", "\\|") for text in column] for column in columns]
    padded = [[text.ljust(max(map(len, column))) for text in column] for column in texts]
    head, *rows = (f"| {' | '.join(row)} |" for row in zip(*padded, strict=True))
    return [head, f"|{'|'.join('-' * (len(column[0]) + 2) for column in padded)}|", *rows]
