"""Reads the logged numbers of runs, finished or running."""

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
RowsByNumber = dict[Path, dict[str, list[Row]]]  # run -> number -> the rows that contain it
ACCURACY = "accuracy"  # on the test images, or on the validation images if there are no test images
TIMES = ("step", "wall_s")  # in every row; not values


def rows_of(path: Path, number: str | None = None) -> list[Row]:
    """The rows in metrics.jsonl of the run at `path`, or only those with `number`; [] if there is no file.

    An unterminated last line, still being written or cut off by a kill, is skipped, as on resume. Raises
    Damaged if any other line is not a row.
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
    """The steps at which a number was logged and its values, (T,) each."""
    pairs = [(row["step"], row[number]) for row in rows if number in row]
    return np.array([step for step, _ in pairs]), np.array([value for _, value in pairs])


def logged_as(number: str, run: Run) -> str:
    """The key of a number in the rows of a run: "accuracy" depends on the run's data."""
    if number != ACCURACY:
        return number
    return (run.state.accuracy_of or "test/accuracy").removesuffix("_population")


def readable(runs: Sequence[Run], read: Callable[[Run], T]) -> tuple[list[tuple[Run, T]], list[str]]:
    """Apply `read` to each run. Also returns a line for each run left out because of a damaged record."""
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
    """The rows of each run with each number, and a line for each run that is left out.

    UserError for a number that no run has logged.
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
            reason = "the time of a row, not a value" if number in TIMES else "no run here has logged it"
            accepted = ", ".join(sorted(known)) or "runs that have logged numbers"
            raise UserError(f"{option}={number}: {reason}; accepted: {accepted}")
    return {run.path: found for run, found in read}, complaints
