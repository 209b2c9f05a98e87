"""Rates chosen on held-out training examples, and further seeds at these: what several experiments do.

A grid of one seed gives each case (an optimizer, a normalization, a size of the mini-batch) its rate, that of
the highest accuracy on the 10,000 training examples held out. Further seeds at that rate, which have no part
in the choice, are what is reported. Accuracies are those at the end; with BN by Algorithm 2's statistics.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

from bn.config import Config
from bn.errors import UserError
from bn.run.directory import RunDirectory, read_lines
from experiments import collected

CHANCE = 0.1  # of ten digits, for a run that diverged
APART = 5.0  # points between seeds, from which on a mean does not describe them
GRID, FURTHER = "final.csv", "further_seeds.csv"
NUMBERS = (
    "validation/accuracy", "test/accuracy", "validation/accuracy_population", "test/accuracy_population",
)  # fmt: skip

NOTE = (
    "Each rate had the highest accuracy, for one other seed, on 10,000 training examples held out; at the "
    "edge: it is the smallest or the largest of those tried."
)

Case = tuple[str, ...]


class Run(NamedTuple):
    """A run's accuracies at its end, from 0 to 1; chance if it diverged."""

    seed: int
    diverged: bool
    validation: float
    test: float
    test_moving: float  # with the moving averages; without BN the same as `test`
    extra: dict[str, float]  # other numbers of the last step


Cells = dict[float, list[Run]]  # of one case: rate: its seeds
Grid = dict[Case, Cells]


def write(
    runs: Sequence[RunDirectory],
    path: Path,
    names: Sequence[str],
    case_of: Callable[[Config], Case],
    extra: Sequence[str] = (),
) -> None:
    """One row a run: the case, whose columns are `names`, its rate, how it ended, and its last numbers.

    `extra`: names in metrics.jsonl, the last part of which becomes a column. UserError if one has not ended.
    """
    collected.check_all_ended(runs)  # a choice is among all of them
    rows = []
    for run in collected.ended(runs):
        last = next((x for x in reversed(read_lines(run.path / "metrics.jsonl")) if NUMBERS[1] in x), {})
        if run.status["state"] == "diverged":
            last = {}
        config = run.config
        rows.append((
            *case_of(config), f"{config.optim.initial_rate:g}", config.seed, run.status["state"],
            run.status["step"], *(last.get(key, "") for key in (*NUMBERS, *extra)),
        ))  # fmt: skip
    columns = [key.replace("/", "_") for key in NUMBERS] + [key.rpartition("/")[2] for key in extra]
    collected.write_csv(path, (*names, "rate", "seed", "state", "steps", *columns), rows)


def read(path: Path, names: Sequence[str]) -> Grid:
    """What `write` wrote."""
    found: Grid = {}
    known = {*names, "rate", "seed", "state", "steps", *(key.replace("/", "_") for key in NUMBERS)}
    for row in collected.read_csv(path):
        cells = found.setdefault(tuple(row[name] for name in names), {})
        cells.setdefault(float(row["rate"]), []).append(_run(row, known))
    return found


def _run(row: Mapping[str, str], known: set[str]) -> Run:
    def value(split: str, statistics: str = "") -> float:
        text = row[f"{split}_accuracy{statistics}"] or row[f"{split}_accuracy"]
        return CHANCE if row["state"] == "diverged" else float(text)

    extra = {name: float(text) for name, text in row.items() if name not in known and text}
    validation, test = value("validation", "_population"), value("test", "_population")
    return Run(int(row["seed"]), row["state"] == "diverged", validation, test, value("test"), extra)


def best(cells: Cells) -> float:
    """The rate of the highest mean accuracy on the examples held out; the lower one of two that are equal."""
    return max(sorted(cells), key=lambda rate: fmean(run.validation for run in cells[rate]))


def read_further(folder: Path, names: Sequence[str], grid: Grid) -> dict[Case, list[Run]]:
    """The further seeds of each case. UserError if they are not at the rates that the grid gives."""
    path = folder / FURTHER
    found = read(path, names)
    for case, cells in grid.items():
        if list(found.get(case, {})) != [best(cells)]:
            raise UserError(
                f"{path}: does not have the rates chosen from the grid: "
                f"python scripts/reproduce.py {folder.name} --further-only"
            )
    return {case: found[case][best(cells)] for case, cells in grid.items()}


def percent(runs: Sequence[Run], of: Callable[[Run], float] = lambda run: run.test) -> str:
    """The accuracy in %: mean ± half-width of the 95% interval, or each seed where they lie apart."""
    return collected.summary([100 * of(run) for run in runs], APART)


def gains(runs: Sequence[Run], other: Sequence[Run]) -> list[float]:
    """Points of test accuracy of `runs` over `other`, seed by seed."""
    pairs = zip(runs, other, strict=True)
    if any(one.seed != base.seed for one, base in pairs):
        raise UserError("further seeds: not the same in all cases: restore the records")
    return [100 * (one.test - base.test) for one, base in zip(runs, other, strict=True)]


def rate_text(cells: Cells) -> str:
    """The chosen rate, marked where it is at the edge of those tried."""
    rate = best(cells)
    edge = rate in (min(cells), max(cells)) and len(cells) > 1
    return f"{rate:g}" + " (at the edge)" * edge


def draw_rates(axis: Any, cells: Cells, label: str, look: Mapping[str, Any]) -> None:
    """Error on the held-out examples against the rate, both logarithmic, and a star at the chosen rate."""
    rates = sorted(cells)
    error = [100 - 100 * fmean(run.validation for run in cells[rate]) for rate in rates]
    axis.plot(rates, error, marker="o", ms=3.5, label=label, **look)
    chosen = best(cells)
    axis.plot(
        chosen, error[rates.index(chosen)], marker="*", ms=11, color=look["color"], mec="white", mew=0.7,
        linestyle="none", zorder=5,
    )  # fmt: skip


def error_axis(axis: Any, ticks: Sequence[float] = (10, 50, 80, 90, 95, 97, 98)) -> None:
    """An axis of accuracy in % that is logarithmic in the error, 100 - accuracy."""
    axis.set(xscale="log", yscale="log", ylim=(95, 1.8), xlabel="learning rate")
    axis.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axis.set_yticks([100 - tick for tick in ticks], [f"{tick}" for tick in ticks])
    axis.minorticks_off()
