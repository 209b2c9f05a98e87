"""`runs.py show`: everything about one run on a page."""

import argparse
import os
import textwrap
from collections.abc import Iterator
from typing import Any

import plotext

from bn.compare.columns import COLUMNS, cells, reason
from bn.compare.facts import starts_of
from bn.compare.percentiles import layers_of, observed, typical
from bn.compare.rows import ACCURACY, curve, logged_as, rows_of
from bn.compare.runs import Run, run_named
from bn.compare.settings import ABSENT, CHOICES, shown
from bn.compare.terminal import in_columns, width
from bn.config import flatten, to_dict
from bn.errors import UserError, printable

WIDEST, HEIGHT = 120, 12  # columns of the page, lines of a curve
Section = tuple[str, list[str]]


def main(arguments: argparse.Namespace) -> None:
    run = run_named(arguments.run)
    columns = min(width(), WIDEST)
    for part in (standing, config, numbers_and_curves, percentiles, environment, files):
        try:
            sections = list(part(run))
        except UserError as error:  # a damaged record
            sections = [(str(error), [])]
        for title, lines in sections:
            page = [printable(title), *(f"  {line}" for line in lines)]
            print(*(folded(line, columns) for line in page), "", sep="\n")


def folded(line: str, columns: int) -> str:
    """A line that is too long, such as a command, in several."""
    return line if len(line) <= columns else textwrap.fill(line, columns, subsequent_indent=" " * 6)


def standing(run: Run) -> Iterator[Section]:
    """How it stands."""
    found = dict(zip(COLUMNS, cells(run.state, os.path.relpath(run.path)), strict=True))
    name = found.pop("run")
    found["accuracy"] += f" ({run.state.accuracy_of})" * bool(found["accuracy"])
    found |= {"reason": reason(run.state), "log": run.state.log or ""}
    yield name, in_columns([pair for pair in found.items() if pair[1]])


def config(run: Run) -> Iterator[Section]:
    """What differs from the experiment alone; everything where this clone has no such experiment."""
    if not run.config:
        yield "config: missing or damaged", []
        return
    own = {key: value for key, value in run.config.items() if key not in ("experiment", "output", "debug")}
    experiment, alone = alone_of(run)
    rows = [
        (key, shown(value), f"({shown(alone[key])})" if key in alone else "")
        for key, value in own.items()
        if value != alone.get(key, ABSENT)
    ]
    why = ", except for" if alone else ", which is no experiment of this clone"
    yield f"config: {experiment}{why * bool(rows)}", in_columns(rows)


def alone_of(run: Run) -> tuple[str, dict[str, Any]]:
    """The words that compose the experiment alone, and its config; empty where it cannot be composed."""
    from hydra.errors import HydraException

    from bn.cli import planned_run

    words = [f"experiment={run.state.experiment}"]
    for key in ("scale", "member", "debug"):
        value = shown(run.config.get(key))
        words += [f"{key}={value}"] * (value != CHOICES.get(key, "null"))
    try:
        return " ".join(words), flatten(to_dict(planned_run(words).config))
    except (UserError, HydraException):
        return words[0], {}


def numbers_and_curves(run: Run) -> Iterator[Section]:
    """The latest value of each logged number, of the accuracy the best too; its curve and the loss's."""
    rows = rows_of(run.path)
    accuracy = logged_as(ACCURACY, run)
    latest = {name: (value, row["step"]) for row in rows for name, value in row.items() if name != "step"}
    found = []
    for name, (value, step) in latest.items():
        best = ""
        if name == accuracy:
            steps, values = curve(rows, name)
            best = f"best {values.max():.4g} at {steps[values.argmax()]:,}"
        found.append((name, f"{value:,.0f}" if value >= 1000 else f"{value:.4g}", f"at {step:,}", best))
    yield "numbers" if found else "numbers: none yet", in_columns(found)
    for name in (accuracy, "train/loss"):
        steps, values = curve(rows, name)
        if len(steps) > 1:
            yield name, drawn(steps, values, min(width(), WIDEST) - 2)


def drawn(steps: Any, values: Any, columns: int) -> list[str]:
    """The lines of a curve in characters."""
    plotext.clear_figure()
    plotext.theme("clear")
    plotext.plotsize(columns, HEIGHT)
    plotext.plot(steps.tolist(), values.tolist(), marker="braille")
    ticks = [steps[0], *(steps[-1] * i / 4 for i in range(1, 5))]
    plotext.xticks(ticks, [f"{tick:,.0f}" for tick in ticks])
    return [line.rstrip() for line in plotext.uncolorize(plotext.build()).splitlines()]


def percentiles(run: Run) -> Iterator[Section]:
    """Of the typical unit of each layer, at the first, the middle and the last step observed."""
    found = observed(run.path)
    if not layers_of(found) or not len(found["steps"]):
        return
    places = sorted({0, len(found["steps"]) // 2, len(found["steps"]) - 1})
    rows = [["layer", "unit", *(f"step {found['steps'][place]:,}" for place in places)]]
    for layer in layers_of(found):
        unit = typical(found[layer])
        values = (found[layer][place, :, unit] for place in places)
        rows.append([layer, str(unit), *(" ".join(f"{v:5.2f}" for v in each) for each in values)])
    which = ", ".join(f"{value:g}" for value in found["percentiles"])
    yield f"percentiles ({which}) of the input to a typical unit", in_columns(rows)


def environment(run: Run) -> Iterator[Section]:
    """Of its first start; then when the run was resumed, and what was other than at its start."""
    first, *resumed = starts_of(run.path) or [{}]
    yield (
        "environment" if first else "environment: no env.json",
        in_columns([(key, str(value)) for key, value in first.items() if key != "step"]),
    )
    rows = []
    for start in resumed:
        other = [f"{key} {value}" for key, value in start.items()
                 if key not in ("step", "time", "command") and first.get(key) != value]  # fmt: skip
        rows.append((f"step {start['step']:,}", start["time"], "; ".join(other)))
    if rows:
        yield f"resumed {len(rows)} time{'s' * (len(rows) != 1)}", in_columns(rows)


def files(run: Run) -> Iterator[Section]:
    """The checkpoints, and the size of everything."""
    total = sum(path.stat().st_size for path in run.path.rglob("*") if path.is_file())
    rows = [
        (
            f"step {int(path.name[5:].split('.')[0]):,}",
            size(path.stat().st_size),
            os.path.relpath(path, run.path),
        )
        for path in sorted(run.path.glob("checkpoints/step_*.pt"))
    ]
    yield f"{'checkpoints' if rows else 'no checkpoints'}; {size(total)} in all", in_columns(rows)


def size(count: int) -> str:
    return f"{count / 1e6:,.1f} MB"
