"""Learning rates chosen on held-out training examples, and further seeds at the chosen rates.

Several experiments share this protocol. A grid with one seed gives each case (an optimizer, a normalization,
a mini-batch size) its learning rate: the one with the highest accuracy on 10,000 held-out training examples.
The reported numbers are those of further seeds at that rate, which have no part in the choice. Accuracies are
final ones, with BN by Algorithm 2's statistics.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

from bn.config import Config
from bn.errors import UserError
from bn.run.directory import RunDirectory, read_lines
from experiments import collected

CHANCE = 0.1  # for a run that diverged
APART = 5.0  # points; seeds that lie farther apart are listed instead of averaged
GRID, FURTHER = "final.csv", "further_seeds.csv"
NUMBERS = (
    "validation/accuracy", "test/accuracy", "validation/accuracy_population", "test/accuracy_population",
)  # fmt: skip

APART_NOTE = f"Seeds are listed where they lie more than {APART:g} points apart."
CHOICE = (
    "Each learning rate was chosen with one other seed, by the highest accuracy on 10,000 held-out training "
    "examples. (at the edge) marks the smallest or the largest of those tried."
)

Case = tuple[str, ...]


class Run(NamedTuple):
    """The final accuracies of a run, from 0 to 1; chance if it diverged."""

    seed: int
    diverged: bool
    validation: float
    test: float
    test_moving: float  # with the moving averages; without BN the same as `test`
    extra: dict[str, float]  # other numbers of the last step


Cells = dict[float, list[Run]]  # of one case, by learning rate: the seeds
Grid = dict[Case, Cells]
Collect = Callable[[Sequence[RunDirectory], Path], None]


def collectors(
    names: Sequence[str], case_of: Callable[[Config], Case], extra: Sequence[str] = ()
) -> tuple[Collect, Collect]:
    """An experiment's `collect` and `collect_further`, which `write` records and provenance."""

    def collect(runs: Sequence[RunDirectory], folder: Path) -> None:
        write(runs, folder / GRID, names, case_of, extra)
        collected.write_provenance(folder / "runs.json", runs)

    def collect_further(runs: Sequence[RunDirectory], folder: Path) -> None:
        write(runs, folder / FURTHER, names, case_of, extra)
        collected.write_provenance(folder / "further_seeds_runs.json", runs)

    return collect, collect_further


def write(
    runs: Sequence[RunDirectory],
    path: Path,
    names: Sequence[str],
    case_of: Callable[[Config], Case],
    extra: Sequence[str] = (),
) -> None:
    """Write one row per run: the case (columns `names`), learning rate, final state and final numbers.

    `extra`: names in metrics.jsonl; their last parts become columns. UserError if a run has not ended.
    """
    collected.check_all_ended(runs)  # the choice needs all of them
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
    """Read the records of `write`."""
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
    """The learning rate with the highest mean accuracy on the held-out examples; the lower one in a tie."""
    return max(sorted(cells), key=lambda rate: fmean(run.validation for run in cells[rate]))


def read_further(folder: Path, names: Sequence[str], grid: Grid) -> dict[Case, list[Run]]:
    """The further seeds of each case. UserError if they are not at the learning rates that the grid gives."""
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
    """The accuracy in %: mean ± half-width of the 95% interval, or each seed if `APART` or more apart."""
    return collected.summary([100 * of(run) for run in runs], APART)


def gains(runs: Sequence[Run], other: Sequence[Run]) -> list[float]:
    """Test accuracy of `runs` minus that of `other`, in points, by seed."""
    pairs = zip(runs, other, strict=True)
    if any(one.seed != base.seed for one, base in pairs):
        raise UserError("further seeds: not the same in all cases: restore the records")
    return [100 * (one.test - base.test) for one, base in zip(runs, other, strict=True)]


def rate_text(cells: Cells) -> str:
    """The chosen learning rate, marked if it is at the edge of those tried."""
    rate = best(cells)
    edge = rate in (min(cells), max(cells)) and len(cells) > 1
    return f"{rate:g}" + " (at the edge)" * edge


def draw_rates(axis: Any, cells: Cells, label: str, look: Mapping[str, Any]) -> None:
    """Plot the error on held-out examples against the learning rate, with a star at the chosen one."""
    rates = sorted(cells)
    error = [100 - 100 * fmean(run.validation for run in cells[rate]) for rate in rates]
    axis.plot(rates, error, marker="o", ms=3.5, label=label, **look)
    chosen = best(cells)
    axis.plot(
        chosen, error[rates.index(chosen)], marker="*", ms=11, color=look["color"], mec="white", mew=0.7,
        linestyle="none", zorder=5,
    )  # fmt: skip


def error_axis(axis: Any, ticks: Sequence[float] = (10, 50, 80, 90, 95, 97, 98)) -> None:
    """Set up an accuracy axis in % that is logarithmic in the error, 100 - accuracy."""
    axis.set(xscale="log", yscale="log", ylim=(95, 1.8), xlabel="learning rate")
    axis.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axis.set_yticks([100 - tick for tick in ticks], [f"{tick}" for tick in ticks])
    axis.minorticks_off()
