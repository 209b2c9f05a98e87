"""The state of a run at a glance, from its directory alone, during the training and after."""

import contextlib
import math
import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from bn.cluster.submission import SHAPE as SUBMITTED
from bn.files import NUMBER, Damaged, Shape, mismatch, open_regular, parse_record, parse_yaml, read_record
from bn.run.directory import ENDED, ROW, STATUS
from bn.run.heartbeat import Holder, holder_of
from bn.run.telling import ACCURACIES, PACE

STATES = {
    "done": "trained to its last step",
    "diverged": "a value became NaN or inf, which is a result",
    "queued": "submitted to SLURM, not started since",
    "running": "a process works on it",
    "interrupted": "told to stop, or out of memory",
    "lost": "its process ended without recording why",
    "failed": "ended by an error",
}


class RunState(NamedTuple):
    """None: not known, or not known yet."""

    path: Path
    experiment: str
    state: str  # of STATES
    step: int | None  # the latest recorded; a run that was killed goes on from its last checkpoint
    steps: int | None
    accuracy: float | None  # the latest, a share of 1
    accuracy_of: str | None  # which one, of ACCURACIES
    images_per_second: float | None
    age: (
        float | None
    )  # seconds since: submission (queued), the last sign of life (lost), the last record (others)
    job: str | None  # of SLURM
    log: str | None  # of that job
    reason: str | None  # one line


def find_runs(root: Path) -> list[Path]:
    """The run directories in a folder, itself included, also by links. Hidden folders hold none."""
    found, seen = [], set()
    for folder, folders, files in os.walk(root, followlinks=True):
        here = os.path.realpath(folder)
        if here in seen:  # two links, or a link to where it is
            folders.clear()
            continue
        seen.add(here)
        if {"config.yaml", "status.json", "submitted.json"} & set(files):
            found.append(Path(folder))
            folders.clear()
        folders[:] = [name for name in folders if not name.startswith(".")]
    return found


class _Files(NamedTuple):
    """What a run directory says of its state, and when it was said.

    Compared are the times of files, which one clock gives; those of nodes may be seconds apart.
    """

    status: dict[str, Any]  # status.json
    submission: dict[str, Any]  # submitted.json
    touched: float  # the lock, by the process that works there
    told: float  # status.json
    submitted: float  # submitted.json
    written: float  # status.json, or what else training writes


def _read_files(path: Path) -> _Files:
    status, submission = _read(path / "status.json", STATUS), _read(path / "submitted.json", SUBMITTED)
    touched, told, submitted = (_changed(path / name) for name in ("lock", "status.json", "submitted.json"))
    written = max(told, *(_changed(path / name) for name in ("config.yaml", "metrics.jsonl")))
    return _Files(status, submission, touched, told, submitted, written)


def state_of(path: Path) -> RunState:
    """The state of the run in this directory. What is damaged is left out."""
    # The lock first: a run that ends in between shows as ended then, not as lost.
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
        steps=next(_numbers(_said_of_steps(path, files.status, files.submission)), None),
        accuracy=latest[accuracy_of] if accuracy_of else None,
        accuracy_of=accuracy_of,
        images_per_second=latest.get(PACE),
        age=_age(state, files),
        job=job,
        log=log,
        reason=None if reason is None else " ".join(str(reason).split()),
    )


def _state_and_reason(holder: Holder | None, files: _Files) -> tuple[str, Any]:
    """One of STATES, and the reason where there is one."""
    said = files.status.get("state")
    if said in ENDED:
        return said, files.status.get("reason")
    if holder and holder.alive:
        return "running", None
    if files.submitted > max(files.told, files.touched):
        return "queued", None
    if said in ("interrupted", "failed"):
        return said, files.status.get("reason")
    reason = f"{holder.name} is gone" if holder else "no process works here"
    damaged = files.told and not files.status
    return "lost", f"{reason}; status.json is damaged" if damaged else reason


def _age(state: str, files: _Files) -> float | None:
    """Seconds since the last sign of the run; None where there is none."""
    signs = {"queued": files.submitted, "lost": files.touched}
    sign = signs.get(state) or files.written or files.touched
    return max(0.0, time.time() - sign) if sign else None


def _job_and_log(files: _Files) -> tuple[str | None, str | None]:
    """The SLURM job that the newer of two files names, and its log if the submission is that job's."""
    newer = files.submission if files.submitted > files.told else files.status
    job = newer.get("job")
    if job is None:
        return None, None
    return str(job), files.submission.get("log") if job == files.submission.get("job") else None


def _latest_numbers(metrics: Path) -> dict[str, Any]:
    """The last step, pace and accuracy in metrics.jsonl, which is read from its end, since it may be long."""
    latest: dict[str, Any] = {}
    with contextlib.suppress(OSError), open_regular(metrics) as file:
        for line in _lines_from_the_end(file):
            if PACE in latest and b"accuracy" not in line:
                continue
            record = _row(line)
            for key in ("step", PACE, *ACCURACIES):
                for number in _numbers([record.get(key)]):
                    latest.setdefault(key, number)
            if any(key in latest for key in ACCURACIES):
                break
    return latest


def _lines_from_the_end(file: BinaryIO, block: int = 1 << 13) -> Iterator[bytes]:
    end, rest = file.seek(0, os.SEEK_END), b""
    while end:
        begin = max(0, end - block)
        file.seek(begin)
        rest, *lines = (file.read(end - begin) + rest).split(b"\n")
        yield from reversed(lines)
        end = begin
    yield rest


def _said_of_steps(path: Path, status: dict[str, Any], submission: dict[str, Any]) -> Iterator[Any]:
    """How many steps the run has, from each record that may say so, the most direct first."""
    yield status.get("steps")
    yield _length(submission.get("config"))
    with contextlib.suppress(Damaged):
        yield _length(read_record(path / "config.yaml", dict, parse=parse_yaml))


def _length(config: Any) -> int | None:
    """The steps of a run with this config; None where it is none, or does not say."""
    if not isinstance(config, dict):
        return None
    numbers = list(_numbers([config.get("steps"), config.get("steps_factor", 1.0)]))
    product = math.prod(numbers)
    return round(product) if len(numbers) == 2 and math.isfinite(product) else None


def _read(path: Path, shape: Shape) -> dict[str, Any]:
    """The record; empty where there is none, or where it is damaged."""
    try:
        return read_record(path, shape) or {}
    except Damaged:
        return {}


def _row(line: bytes) -> dict[str, Any]:
    """The row in a line of metrics.jsonl; empty where it is none, or was cut off."""
    try:
        return parse_record(line, ROW)
    except ValueError:
        return {}


def _numbers(values: Iterable[Any]) -> Iterator[Any]:
    """The values that are numbers: a damaged file may hold anything."""
    return (value for value in values if mismatch(value, NUMBER) is None)


def _changed(path: Path) -> float:
    """The file's modification time, in seconds since the epoch; 0 where there is no file."""
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
