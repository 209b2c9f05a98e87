"""The logged numbers of runs, also of those that are being written."""

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np

from bn.compare.runs import Run
from bn.errors import UserError
from bn.files import NUMBER, Damaged, mismatch, read_regular

T = TypeVar("T")
Row = dict[str, float]
RowsByNumber = dict[Path, dict[str, list[Row]]]  # of each run, and each number the rows that have it
ACCURACY = "accuracy"  # on the test images, or on the validation images if there are no others
TIMES = ("step", "wall_s")  # of each row, and no values


def rows_of(path: Path, number: str | None = None) -> list[Row]:
    """The rows of the run at `path`, those with this logged number; [] before the first is written.

    A last line without an end is being written, or was cut off by a kill: it is left out, as a resumed run
    leaves it out. Damaged if any other is no row.
    """
    metrics = path / "metrics.jsonl"
    try:
        *lines, _ = read_regular(metrics).split(b"\n")
    except FileNotFoundError:
        return []
    except OSError as error:
        raise Damaged(metrics, f"cannot be read: {error.strerror}") from error
    wanted = b"" if number is None else json.dumps(number).encode()
    return [_row(metrics, place, line) for place, line in enumerate(lines, start=1) if wanted in line]


def _row(metrics: Path, place: int, line: bytes) -> Row:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise Damaged(metrics, f"line {place}: not JSON") from error
    if wrong := mismatch(row, {"step": int}) or mismatch(list(row.values()), [NUMBER], "a number"):
        raise Damaged(metrics, f"line {place}: {wrong}")
    return row


def curve(rows: Iterable[Row], number: str) -> tuple[np.ndarray, np.ndarray]:
    """The steps at which a number was logged, and its values: (T,) each."""
    pairs = [(row["step"], row[number]) for row in rows if number in row]
    return np.array([step for step, _ in pairs]), np.array([value for _, value in pairs])


def logged_as(number: str, run: Run) -> str:
    """The name of a number in the rows of a run: "accuracy" is the one that it is evaluated by."""
    if number != ACCURACY:
        return number
    return (run.state.accuracy_of or "test/accuracy").removesuffix("_population")


def readable(runs: Sequence[Run], read: Callable[[Run], T]) -> tuple[list[tuple[Run, T]], list[str]]:
    """What `read` makes of each run; and a line for each that is left out because a record is damaged."""
    found, complaints = [], []
    for run in runs:
        try:
            found.append((run, read(run)))
        except UserError as error:
            complaints.append(f"left out: {error}")
    return found, complaints


def rows_by_number(
    option: str, runs: Sequence[Run], numbers: Sequence[str]
) -> tuple[RowsByNumber, list[str]]:
    """The logged numbers of the runs, and a line for each run that is left out.

    UserError for a number of which none of the runs has a value.
    """
    read, complaints = readable(
        runs, lambda run: {number: rows_of(run.path, logged_as(number, run)) for number in numbers}
    )
    if not read:
        raise UserError(complaints[0])
    for number in numbers:
        if number in TIMES or not any(found[number] for _, found in read):
            every, _ = readable(runs, lambda run: rows_of(run.path))
            known = {name for _, rows in every for row in rows for name in row}.difference(TIMES)
            why = "says when a row was logged" if number in TIMES else "no run here has logged it"
            accepted = ", ".join(sorted(known)) or "runs that have logged any"
            raise UserError(f"{option}={number}: {why}; accepted: {accepted}")
    return {run.path: found for run, found in read}, complaints
