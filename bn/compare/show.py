"""`runs.py show`: everything about one run on one page."""

import argparse
import os
import textwrap
from collections.abc import Iterator
from typing import Any

import plotext

from bn.compare.columns import COLUMNS, cells, reason_of
from bn.compare.environment import starts_of
from bn.compare.percentiles import layers_of, observed, typical
from bn.compare.rows import ACCURACY, curve, logged_as, rows_of
from bn.compare.runs import Run, find_run
from bn.compare.settings import ABSENT, CHOICES, shown
from bn.compare.terminal import in_columns, width
from bn.config import flatten, to_dict
from bn.errors import UserError, printable

MAX_WIDTH, CURVE_HEIGHT = 120, 12  # columns, lines
Section = tuple[str, list[str]]


def main(arguments: argparse.Namespace) -> None:
    run = find_run(arguments.run)
    columns = min(width(), MAX_WIDTH)
    for part in (status, config, numbers_and_curves, percentiles, environment, files):
        try:
            sections = list(part(run))
        except UserError as error:  # a damaged record
            sections = [(str(error), [])]
        for title, lines in sections:
            page = [printable(title), *(f"  {line}" for line in lines)]
            print(*(wrapped(line, columns) for line in page), "", sep="\n")


def wrapped(line: str, columns: int) -> str:
    return line if len(line) <= columns else textwrap.fill(line, columns, subsequent_indent=" " * 6)


def status(run: Run) -> Iterator[Section]:
    found = dict(zip(COLUMNS, cells(run.state, os.path.relpath(run.path)), strict=True))
    name = found.pop("run")
    found["accuracy"] += f" ({run.state.accuracy_of})" * bool(found["accuracy"])
    found |= {"reason": reason_of(run.state), "log": run.state.log or ""}
    yield name, in_columns([pair for pair in found.items() if pair[1]])


def config(run: Run) -> Iterator[Section]:
    """The differences from the experiment, or the whole config if this clone has no such experiment."""
    if not run.config:
        yield "config: missing or damaged", []
        return
    own = {key: value for key, value in run.config.items() if key not in ("experiment", "output", "debug")}
    experiment, base = experiment_of(run)
    rows = [
        (key, shown(value), f"({shown(base[key])})" if key in base else "")
        for key, value in own.items()
        if value != base.get(key, ABSENT)
    ]
    suffix = ", except for" if base else ", which this clone does not have"
    yield f"config: {experiment}{suffix * bool(rows)}", in_columns(rows)


def experiment_of(run: Run) -> tuple[str, dict[str, Any]]:
    """The arguments that select the run's experiment, and its flattened config ({} if unknown)."""
    from hydra.errors import HydraException

    from bn.cli import planned_run

    arguments = [f"experiment={run.state.experiment}"]
    for key in ("scale", "member", "debug"):
        value = shown(run.config.get(key))
        arguments += [f"{key}={value}"] * (value != CHOICES.get(key, "null"))
    try:
        return " ".join(arguments), flatten(to_dict(planned_run(arguments).config))
    except (UserError, HydraException):
        return arguments[0], {}


def numbers_and_curves(run: Run) -> Iterator[Section]:
    """The latest value of each logged number, the best accuracy, and the curves of accuracy and loss."""
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
            yield name, text_plot(steps, values, min(width(), MAX_WIDTH) - 2)


def text_plot(steps: Any, values: Any, columns: int) -> list[str]:
    """The lines of a curve plotted in characters."""
    plotext.clear_figure()
    plotext.theme("clear")
    plotext.plotsize(columns, CURVE_HEIGHT)
    plotext.plot(steps.tolist(), values.tolist(), marker="braille")
    ticks = [steps[0], *(steps[-1] * i / 4 for i in range(1, 5))]
    plotext.xticks(ticks, [f"{tick:,.0f}" for tick in ticks])
    return [line.rstrip() for line in plotext.uncolorize(plotext.build()).splitlines()]


def percentiles(run: Run) -> Iterator[Section]:
    """Percentiles of the typical unit of each layer, at the first, middle and last observed step."""
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
    """The environment of the first start, and its changes at each resumption."""
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
    """The checkpoints, and the total size of the run directory."""
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
