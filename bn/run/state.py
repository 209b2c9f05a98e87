"""The state of a run, read from its directory, during and after training."""

import contextlib
import math
import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from bn.files import NUMBER, Damaged, Shape, mismatch, open_regular, parse_record, parse_yaml, read_record
from bn.run.directory import ENDED, ROW, STATUS
from bn.run.formatting import ACCURACIES, THROUGHPUT
from bn.run.heartbeat import Holder, holder_of
from bn.run.submission import SHAPE as SUBMITTED

STATES = {
    "done": "trained to its last step",
    "diverged": "a value became NaN or inf, which is a result",
    "queued": "submitted to SLURM, not started since",
    "running": "a process is training it",
    "interrupted": "stopped by a signal, or out of memory",
    "lost": "its process ended without recording why",
    "failed": "ended by an error",
}


class RunState(NamedTuple):
    """The state of a run; None stands for unknown values."""

    path: Path
    experiment: str
    state: str  # one of STATES
    step: int | None  # the latest recorded one; a killed run resumes from its last checkpoint
    steps: int | None
    accuracy: float | None  # the latest, from 0 to 1
    accuracy_of: str | None  # its name, one of ACCURACIES
    images_per_second: float | None
    age: float | None  # seconds since submission (queued), last heartbeat (lost), last record (others)
    job: str | None  # SLURM job
    log: str | None  # log of that job
    reason: str | None  # one line


def find_runs(root: Path) -> list[Path]:
    """Find the run directories in a folder, itself included. Follows links and skips hidden folders."""
    found, seen = [], set()
    for folder, folders, files in os.walk(root, followlinks=True):
        here = os.path.realpath(folder)
        if here in seen:  # reached by another link, or a cycle
            folders.clear()
            continue
        seen.add(here)
        if {"config.yaml", "status.json", "submitted.json"} & set(files):
            found.append(Path(folder))
            folders.clear()
        folders[:] = [name for name in folders if not name.startswith(".")]
    return found


class _Files(NamedTuple):
    """The records that determine a run's state, and their modification times.

    File times come from a single clock, while the clocks of nodes may be seconds apart.
    """

    status: dict[str, Any]
    submission: dict[str, Any]
    lock_time: float
    status_time: float
    submission_time: float
    written_time: float  # of the latest file that training writes


def _read_files(path: Path) -> _Files:
    status, submission = _read(path / "status.json", STATUS), _read(path / "submitted.json", SUBMITTED)
    locked, updated, submitted = (_mtime(path / name) for name in ("lock", "status.json", "submitted.json"))
    written = max(updated, *(_mtime(path / name) for name in ("config.yaml", "metrics.jsonl")))
    return _Files(status, submission, locked, updated, submitted, written)


def state_of(path: Path) -> RunState:
    """Read the state of the run in this directory, ignoring damaged records."""
    # The lock first, so that a run that ends in between shows as ended, not as lost.
    holder = holder_of(path / "lock")
    files = _read_files(path)
    state, reason = _state_and_reason(holder, files)
    latest = _latest_numbers(path / "metrics.jsonl")
    accuracy_of = next((key for key in ACCURACIES if key in latest), None)
    job, log = _job_and_log(files)
    return RunState(
        path=path,
        experiment=path.resolve().parent.parent.name,
        state=state,
        step=max(_numbers([files.status.get("step"), latest.get("step")]), default=None),
        steps=next(_numbers(_candidate_lengths(path, files.status, files.submission)), None),
        accuracy=latest[accuracy_of] if accuracy_of else None,
        accuracy_of=accuracy_of,
        images_per_second=latest.get(THROUGHPUT),
        age=_age(state, files),
        job=job,
        log=log,
        reason=None if reason is None else " ".join(str(reason).split()),
    )


def _state_and_reason(holder: Holder | None, files: _Files) -> tuple[str, Any]:
    """One of STATES, and the reason if there is one."""
    state, reason = files.status.get("state"), files.status.get("reason")
    if state in ENDED:
        return state, reason
    if holder and holder.alive:
        return "running", None
    if files.submission_time > max(files.status_time, files.lock_time):
        return "queued", None
    if state in ("interrupted", "failed"):
        return state, reason
    reason = f"{holder.name} is gone" if holder else "no process works here"
    damaged = files.status_time and not files.status
    return "lost", f"{reason}; status.json is damaged" if damaged else reason


def _age(state: str, files: _Files) -> float | None:
    """Seconds since the last sign of life; None if there is none."""
    times = {"queued": files.submission_time, "lost": files.lock_time}
    last = times.get(state) or files.written_time or files.lock_time
    return max(0.0, time.time() - last) if last else None


def _job_and_log(files: _Files) -> tuple[str | None, str | None]:
    """The SLURM job in the newer of two files, and its log if the submission is that job's."""
    newer = files.submission if files.submission_time > files.status_time else files.status
    job = newer.get("job")
    if job is None:
        return None, None
    return str(job), files.submission.get("log") if job == files.submission.get("job") else None


def _latest_numbers(metrics: Path) -> dict[str, Any]:
    """The last step, throughput and accuracy in metrics.jsonl, read from its end, as it may be long."""
    latest: dict[str, Any] = {}
    with contextlib.suppress(OSError), open_regular(metrics) as file:
        for line in _lines_reversed(file):
            if THROUGHPUT in latest and b"accuracy" not in line:
                continue
            record = _row(line)
            for key in ("step", THROUGHPUT, *ACCURACIES):
                for number in _numbers([record.get(key)]):
                    latest.setdefault(key, number)
            if any(key in latest for key in ACCURACIES):
                break
    return latest


def _lines_reversed(file: BinaryIO, block: int = 1 << 13) -> Iterator[bytes]:
    end, rest = file.seek(0, os.SEEK_END), b""
    while end:
        begin = max(0, end - block)
        file.seek(begin)
        rest, *lines = (file.read(end - begin) + rest).split(b"\n")
        yield from reversed(lines)
        end = begin
    yield rest


def _candidate_lengths(path: Path, status: dict[str, Any], submission: dict[str, Any]) -> Iterator[Any]:
    """The number of steps according to each record that may contain it, the most direct first."""
    yield status.get("steps")
    yield _length(submission.get("config"))
    with contextlib.suppress(Damaged):
        yield _length(read_record(path / "config.yaml", dict, parse=parse_yaml))


def _length(config: Any) -> int | None:
    """The number of steps of a run with this config; None if it is not a config, or lacks it."""
    if not isinstance(config, dict):
        return None
    numbers = list(_numbers([config.get("steps"), config.get("steps_factor", 1.0)]))
    product = math.prod(numbers)
    return round(product) if len(numbers) == 2 and math.isfinite(product) else None


def _read(path: Path, shape: Shape) -> dict[str, Any]:
    """Read a record; empty if it is missing or damaged."""
    try:
        return read_record(path, shape) or {}
    except Damaged:
        return {}


def _row(line: bytes) -> dict[str, Any]:
    """Parse a line of metrics.jsonl; empty if it is not a row, or truncated."""
    try:
        return parse_record(line, ROW)
    except ValueError:
        return {}


def _numbers(values: Iterable[Any]) -> Iterator[Any]:
    """The values that are numbers: a damaged file may contain anything."""
    return (value for value in values if mismatch(value, NUMBER) is None)


def _mtime(path: Path) -> float:
    """The file's modification time, in seconds since the epoch; 0 if there is no file."""
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
