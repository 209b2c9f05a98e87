"""The time spent on the committed runs, by experiment, from their records.

    python scripts/make_figures.py run_hours

A record has the time from the start of the training to its last logged step (`wall_s`), over all attempts of
a run, but not the CPU time. A run on a CPU uses one thread, so its time is an upper bound of its core hours:
it is longer if several runs waited for one core. Runs on a GPU share it, some fifteen at a time, so their
times are not GPU hours. A run that several experiments use counts for the first of them. Evaluations of
trained networks, collecting and drawing are not counted.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from experiments import EXPERIMENTS, collected

KINDS = {"cpu": "CPU, one thread", "cuda": "GPU, shared by several runs"}
Entry = dict[str, Any]  # the `collected.provenance` of a run


class Runs(NamedTuple):
    """The runs of an experiment."""

    entries: Sequence[Entry]
    new: Sequence[Entry]  # those that no earlier experiment has


def draw(folder: Path, out: Path) -> None:
    """Write table.md."""
    lines = [
        "| folder of results/ | runs | of which counted above "
        f"| {' | '.join(f'hours on a {kind}' for kind in KINDS.values())} "
        "| runs without a time |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    groups = list(by_experiment(folder.parent))
    for name, runs in groups:
        cells = (len(runs.entries), len(runs.entries) - len(runs.new), *_cells(runs.new))
        lines.append(f"| `{name}` | {' | '.join(map(str, cells))} |")
    every = [entry for _, runs in groups for entry in runs.new]
    lines.append(f"| **all** | {len(every):,} | | {' | '.join(map(str, _cells(every)))} |")
    note = (
        "The time of a run is that from the start of its training to its last logged step. Runs shared with "
        "an experiment in a row above are counted there. A run on a CPU has one thread, and its time is an "
        "upper bound of its core hours, because runs waited for cores that others used. Runs on a GPU share "
        "it, so their hours are not GPU hours. A run that diverged before it logged a step has no time and "
        "counts as 0."
    )
    (out / "table.md").write_text("\n".join(lines) + f"\n\n{note}\n")


def by_experiment(results: Path) -> Iterator[tuple[str, Runs]]:
    """The experiments with records of runs, in the order of `EXPERIMENTS`."""
    seen = set()
    for name in EXPERIMENTS:
        paths = sorted((results / name).glob("*runs.json"))
        entries = [entry for path in paths for entry in collected.read_entries(path)]
        new = [entry for entry in entries if _which(entry) not in seen]
        seen.update(map(_which, entries))
        if entries:
            yield name, Runs(entries, new)


def _which(entry: Entry) -> tuple[str, ...]:
    """The identity of a run."""
    return entry["command"], entry["time"], entry["commit"]


def hours(entries: Sequence[Entry], kind: str) -> float:
    return sum(entry["wall_s"] or 0 for entry in entries if entry["device"]["type"] == kind) / 3600


def _cells(entries: Sequence[Entry]) -> list[str]:
    """The hours on each kind of device, and the number of runs without a time."""
    found = [hours(entries, kind) for kind in KINDS]
    silent = sum(entry["wall_s"] is None for entry in entries)
    return [*(f"{value:.2f}" if value else "-" for value in found), str(silent or "-")]
