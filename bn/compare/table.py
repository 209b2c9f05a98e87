"""`runs.py table`: mean and interval over the seeds of each setting, as Markdown or CSV."""

import argparse
import csv
import math
import sys
from collections import Counter
from collections.abc import Sequence
from textwrap import wrap

from bn.compare.filters import some_asked_for
from bn.compare.intervals import mean_and_interval
from bn.compare.measures import Cell, cells_of
from bn.compare.rows import ACCURACY, TIMES, Row, logged_as, not_logged, readable, rows_of
from bn.compare.runs import Run
from bn.compare.settings import Setting, brief, one_of_each_seed, settings, short_names, without_config
from bn.compare.terminal import width
from bn.errors import UserError, printable
from bn.files import Damaged, read_record
from bn.run.directory import ENV
from bn.run.state import STATES

POPULATION = "_population"  # ends the name of an accuracy with the statistics of Algorithm 2


def main(arguments: argparse.Namespace) -> None:
    runs = some_asked_for(arguments)
    numbers = arguments.value or [ACCURACY]
    check_levels(numbers[0], arguments.level)
    read, complaints = readable(
        runs, lambda run: {name: rows_of(run.path, logged_as(name, run)) for name in numbers}
    )
    check_numbers(numbers, read)
    groups, copies = one_of_each_seed(settings([run for run, _ in read]))
    complaints += [*without_config(runs), *copies]
    rows = {run.path: found for run, found in read}
    cells = [cells_of(group, rows, numbers, arguments.level) for group in groups]
    if arguments.csv:
        write_csv(groups, cells)
    elif groups:
        if not arguments.value:  # one number, which the note names
            cells = [[cell.without(ACCURACY) for cell in row] for row in cells]
        counted = [run for group in groups for run in group.runs]
        text = f"{note(counted, numbers, bool(arguments.level))} {origin(counted)}"
        print(*tables(groups, cells, width()), "", *wrap(text, min(width(), 10_000)), sep="\n")
    for line in complaints:
        print(f"runs.py: {line}", file=sys.stderr)


def note(runs: Sequence[Run], numbers: Sequence[str], has_levels: bool) -> str:
    """What the numbers are."""
    names = sorted({logged_as(number, run) for number in numbers for run in runs})
    last = {run.state.accuracy_of or "" for run in runs if run.state.state == "done" and ACCURACY in numbers}
    population = ", ".join(sorted(name for name in last if name.endswith(POPULATION)))
    final = "Final: at the last step, of the runs that are done"
    best = "Best: during training, of the runs that have ended"
    if population:
        final += f"; with BN it is {population}, with the statistics of Algorithm 2"
        best += "; with BN by moving averages, so it may be below final"
    mean = f"{', '.join(names)}: mean ± half-width of the 95% confidence interval over the seeds"
    steps = "Steps to a level: interpolated between the logged ones; ≤ where the first had reached it"
    return ". ".join([mean, final, best, *[steps] * has_levels]) + "."


def check_levels(number: str, levels: Sequence[float]) -> None:
    for level in levels:
        if "accuracy" in number and not 0 <= level <= 1:
            raise UserError(f"--level={level:g}: accepted: a share of 1, such as 0.9, of an accuracy")


def check_numbers(numbers: Sequence[str], read: Sequence[tuple[Run, dict[str, list[Row]]]]) -> None:
    """UserError for a number of which none of the runs has a value."""
    runs = [run for run, _ in read]
    for number in numbers:
        if number in TIMES or (any(run.state.step for run in runs) and not any(f[number] for _, f in read)):
            raise not_logged("--value", number, runs)


def runs_text(group: Setting) -> str:
    """5 done; 4 done, 1 diverged."""
    states = Counter(run.state.state for run in group.runs)
    return ", ".join(f"{states[state]} {state}" for state in STATES if states[state])


def tables(groups: Sequence[Setting], cells: Sequence[Sequence[Cell]], width: int) -> list[str]:
    """The lines of a Markdown table; on a narrow terminal of several, each with the settings' columns.

    Where these alone are too wide, settings have numbers, and come first in words.
    """
    measures = [[column[0].heading, *(cell.text() for cell in column)] for column in zip(*cells, strict=True)]
    runs = ["runs", *map(runs_text, groups)]
    values = [[group.experiment, *map(brief, group.values.values())] for group in groups]
    header = ["experiment", *short_names(list(groups[0].values)).values()]
    own = [[*column] for column in zip(header, *values, strict=True)] + [runs]
    lines: list[str] = []
    if any(line_width([*own, measure]) > width for measure in measures):
        own = [["setting", *(str(i) for i in range(1, len(groups) + 1))], runs]
        for i, group in enumerate(groups, start=1):
            name = f"{i}. {printable(group.name())}"
            lines += wrap(
                name, width, subsequent_indent="   ", break_long_words=False, break_on_hyphens=False
            )
        lines.append("")
    part: list[list[str]] = []
    for measure in measures:
        if part and line_width([*own, *part, measure]) > width:
            lines += [*markdown([*own, *part]), ""]
            part = []
        part.append(measure)
    return [*lines, *markdown([*own, *part])]


def line_width(columns: Sequence[Sequence[str]]) -> int:
    return len(markdown(columns)[0])


def markdown(columns: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a table, aligned also where it is read as text; its columns begin with their headings."""
    texts = [[printable(text).replace("|", "\\|") for text in column] for column in columns]
    padded = [[text.ljust(max(map(len, column))) for text in column] for column in texts]
    head, *rows = (f"| {' | '.join(row)} |" for row in zip(*padded, strict=True))
    return [head, f"|{'|'.join('-' * (len(column[0]) + 2) for column in padded)}|", *rows]


def write_csv(groups: Sequence[Setting], cells: Sequence[Sequence[Cell]]) -> None:
    """Of each measure the mean, the half-width of its interval, and the number of seeds that have it.

    Of steps to a level also the number of seeds that had reached it when it was first logged: where there are
    any, mean and half-width are empty. Accuracies are shares of 1.
    """
    writer = csv.writer(sys.stdout, lineterminator="\n")
    header = ["experiment", *(groups[0].values if groups else ()), *STATES]
    for cell in cells[0] if cells else ():
        header += [cell.key, f"{cell.key}_interval", f"{cell.key}_n"]
        header += [f"{cell.key}_n_at_first"] * (cell.bounds is not None)
    writer.writerow(header)
    for group, found in zip(groups, cells, strict=True):
        states = Counter(run.state.state for run in group.runs)
        numbers = [part for cell in found for part in _numbers_of(cell)]
        counts = [states[state] for state in STATES]
        writer.writerow([group.experiment, *group.values.values(), *counts, *numbers])


def _numbers_of(cell: Cell) -> list[object]:
    known = cell.values if not cell.bounds else []
    mean, half = mean_and_interval(known) if known else (math.nan, math.nan)
    texts = ["" if math.isnan(value) else f"{value:.6g}" for value in (mean, half)]
    return [*texts, len(cell.values), *([] if cell.bounds is None else [cell.bounds])]


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
