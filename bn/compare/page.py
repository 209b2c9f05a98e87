"""`runs.py show`: everything about one run on a page."""

import argparse
import itertools
import os
import textwrap
from collections.abc import Callable, Sequence
from typing import Any

import plotext

from bn.compare.columns import cells, reason
from bn.compare.facts import environment_of
from bn.compare.percentiles import layers_of, observed, typical
from bn.compare.rows import ACCURACY, curve, logged_as, rows_of
from bn.compare.runs import Run, run_named
from bn.compare.settings import ABSENT, NO_CHOICE, shown
from bn.compare.terminal import span, width
from bn.config import flatten, to_dict
from bn.errors import UserError, printable

WIDEST, HEIGHT = 120, 12  # columns of the page, lines of a curve
BESIDE = 100  # columns from which on the two curves are side by side
Section = tuple[str, list[str]]


def main(arguments: argparse.Namespace) -> None:
    run = run_named(arguments.run)
    columns = min(width(), WIDEST)
    parts: list[Callable[[], Section]] = [
        lambda: standing(run), lambda: config_of(run), lambda: numbers_of(run),
        lambda: curves_of(run, columns), lambda: percentiles_of(run), lambda: environment(run),
        lambda: resumptions(run), lambda: files_of(run),
    ]  # fmt: skip
    told = set()
    for part in parts:
        try:
            title, lines = part()
        except UserError as error:  # a damaged record, of which two parts may be made
            title, lines = str(error), []
        if title and title not in told:
            page = [printable(title), *(f"  {line}" for line in lines)]
            print(*(folded(line, columns) for line in page), "", sep="\n")
        told.add(title)


def folded(line: str, columns: int) -> str:
    """A line that is too long, such as a command, in several."""
    line = line.rstrip()
    return line if len(line) <= columns else textwrap.fill(line, columns, subsequent_indent=" " * 6)


def in_columns(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [printable("  ".join(map(str.ljust, row, widths)).rstrip()) for row in rows]


def standing(run: Run) -> Section:
    """How it stands."""
    state, name, step, accuracy, pace, age, job = cells(run.state, os.path.relpath(run.path))
    accuracy += f" ({run.state.accuracy_of})" * bool(accuracy)
    found = [("state", state), ("step", step), ("accuracy", accuracy), ("images/s", pace), ("age", age)]
    found += [("job", job), ("reason", reason(run.state)), ("log", run.state.log or "")]
    return name, in_columns([pair for pair in found if pair[1]])


def config_of(run: Run) -> Section:
    """What differs from the experiment alone; everything where this clone has no such experiment."""
    if not run.config:
        return "config: missing or damaged", []
    own = {key: value for key, value in run.config.items() if key not in ("experiment", "output", "debug")}
    experiment, alone = alone_of(run)
    if alone is None:
        title = f"config ({experiment} is no experiment of this clone)"
        return title, in_columns([(key, shown(value)) for key, value in own.items()])
    other = [(key, shown(value), f"({shown(alone.get(key, ABSENT))})") for key, value in own.items()
             if value != alone.get(key, ABSENT)]  # fmt: skip
    return f"config: {experiment}, except for" if other else f"config: {experiment}", in_columns(other)


def alone_of(run: Run) -> tuple[str, dict[str, Any] | None]:
    """The command that composes the experiment alone, and its config; None where it cannot be composed."""
    from hydra.errors import HydraException

    from bn.cli import planned_run

    chosen = {"experiment": run.state.experiment}
    chosen |= {key: run.config[key] for key in ("scale", "member", "debug")
               if run.config.get(key) not in NO_CHOICE}  # fmt: skip
    words = [f"{key}={value}" for key, value in chosen.items()]
    try:
        return " ".join(words), flatten(to_dict(planned_run(words).config))
    except (UserError, HydraException):
        return words[0], None


def numbers_of(run: Run) -> Section:
    """The latest value of each logged number; of an accuracy the best too."""
    rows = rows_of(run.path)
    latest: dict[str, tuple[float, float]] = {}
    for row in rows:
        latest.update({name: (value, row["step"]) for name, value in row.items() if name != "step"})
    found = []
    for name, (value, step) in latest.items():
        best = ""
        if name == logged_as(ACCURACY, run):
            steps, values = curve(rows, name)
            best = f"best {values.max():.4f} at {steps[values.argmax()]:,}"
        text = (
            f"{value:.4f}"
            if "accuracy" in name
            else span(value)
            if name == "wall_s"
            else f"{value:,.0f}"
            if value >= 1000
            else f"{value:.4g}"
        )
        found.append((name, text, f"at {int(step):,}", best))
    return ("numbers" if found else "numbers: none yet"), in_columns(found) if found else []


def curves_of(run: Run, columns: int) -> Section:
    """Accuracy and loss, side by side where there is room."""
    rows = rows_of(run.path)
    names = [name for name in (logged_as(ACCURACY, run), "train/loss") if len(curve(rows, name)[0]) > 1]
    if not names:
        return "", []
    beside = columns >= BESIDE and len(names) == 2
    plots = [drawn(*curve(rows, name), name, (columns - 4) // (2 if beside else 1)) for name in names]
    if beside:
        return "curves", [f"{left}  {right}" for left, right in zip(*plots, strict=True)]
    return "curves", list(itertools.chain(*plots))


def drawn(steps: Any, values: Any, name: str, columns: int) -> list[str]:
    """The lines of a curve in characters."""
    plotext.clear_figure()
    plotext.theme("clear")
    plotext.plotsize(columns, HEIGHT)
    plotext.title(name)
    plotext.plot(steps.tolist(), values.tolist(), marker="braille")
    ticks = [steps[0], *(steps[-1] * i / 4 for i in range(1, 5))]
    plotext.xticks(ticks, [f"{tick:,.0f}" for tick in ticks])
    return plotext.uncolorize(plotext.build()).splitlines()


def percentiles_of(run: Run) -> Section:
    """Of the typical unit of each layer, at the first, the middle and the last step observed."""
    found = observed(run.path)
    if not layers_of(found) or not len(found["steps"]):
        return "", []
    places = sorted({0, len(found["steps"]) // 2, len(found["steps"]) - 1})
    rows = [["layer", "unit", *(f"step {found['steps'][place]:,}" for place in places)]]
    for layer in layers_of(found):
        unit = typical(found[layer])
        values = (found[layer][place, :, unit] for place in places)
        rows.append([layer, str(unit), *(" ".join(f"{v:5.2f}" for v in triple) for triple in values)])
    shown_percentiles = ", ".join(f"{value:g}" for value in found["percentiles"])
    return f"percentiles ({shown_percentiles}) of the input to a typical unit", in_columns(rows)


def environment(run: Run) -> Section:
    facts, _ = environment_of(run.path)
    return ("environment" if facts else "environment: no env.json"), in_columns(
        list(facts.items()) or [("", "")]
    )


def resumptions(run: Run) -> Section:
    """When the run was resumed, and what was other than at its start."""
    facts, resumed = environment_of(run.path)
    rows = []
    for start in resumed:
        other = [f"{key} {value}" for key, value in start.items()
                 if key not in ("step", "time", "command") and facts.get(key) != value]  # fmt: skip
        rows.append((f"step {start['step'] or 0:,}", start["time"], "; ".join(other)))
    return (
        f"resumed {len(rows)} time{'s' * (len(rows) != 1)}" if rows else "",
        in_columns(rows) if rows else [],
    )


def files_of(run: Run) -> Section:
    """Checkpoints with their steps, and the size of everything."""
    total = sum(path.stat().st_size for path in run.path.rglob("*") if path.is_file())
    checkpoints = sorted(run.path.glob("checkpoints/step_*.pt"))
    rows = [(f"step {int(path.name[5:].split('.')[0]):,}", size(path.stat().st_size)) for path in checkpoints]
    title = f"checkpoints, of {size(total)} in all" if rows else f"no checkpoints; {size(total)} in all"
    return title, in_columns(rows) if rows else []


def size(count: float) -> str:
    """12 kB, 3.4 MB."""
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} GB"
