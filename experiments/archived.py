"""Collecting runs whose directories are gone, from their committed records in results/."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from bn.errors import UserError
from bn.run.directory import RunDirectory
from experiments import collected

Cells = tuple[Any, ...]


def gather(runs: Sequence[RunDirectory], folder: Path) -> list[dict[str, Any]]:
    """The `collected.provenance` of each run, from its directory or else from `folder`/runs.json.

    UserError for the first run that has not ended and is in neither, or from `collected.check`.
    """
    entries = collected.read_entries(folder / "runs.json")
    found = []
    for run in runs:
        known = [] if run.finished else [entry for entry in entries if collected.is_of(entry, run.config)]
        if not known:
            collected.check_all_ended([run])
        found.append(known[0] if known else collected.provenance(run))
    collected.check([run for run in runs if run.finished])
    names = [run.name for run in runs]
    collected.check_numerics([*zip(names, map(collected.numerics_of, found), strict=True)])
    return found


def write_rows(
    path: Path,
    header: Sequence[str],
    runs: Sequence[RunDirectory],
    who: Callable[[RunDirectory], Cells],
    rows_of: Callable[[RunDirectory], Iterable[Cells]],
) -> None:
    """Write a CSV with the `rows_of` each run, which start with its identity, the cells of `who`.

    A run without a directory keeps its rows in `path`. UserError if there are none.
    """
    archive = defaultdict(list)
    for row in collected.read_csv(path) if path.exists() else ():
        cells = tuple(row[name] for name in header)
        archive[cells[: len(who(runs[0]))]].append(cells)
    rows: list[Cells] = []
    for run in runs:
        if run.finished:
            rows += rows_of(run)
        elif kept := archive[tuple(map(str, who(run)))]:
            rows += kept
        else:
            raise UserError(f"{path}: has no row of {run.name}: restore it, or train that run again")
    collected.write_csv(path, header, rows)
