"""The state of a run at a glance, from its directory alone, during the training and after."""

import contextlib
import math
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from bn.cluster.submission import SHAPE as SUBMITTED
from bn.files import NUMBER, Damaged, Shape, misfit, parse_record, parse_yaml, read_record
from bn.run.directory import ENDED, ROW, STATUS
from bn.run.lock import holder_of
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
    age: float | None  # seconds since submission (queued), the last sign of life (lost), or the last record
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


def state_of(path: Path) -> RunState:
    """The state of the run in this directory. What is damaged is left out."""
    # The lock first: a run that ends in between shows as ended then, not as lost.
    holder = holder_of(path / "lock")
    status, submission = _read(path / "status.json", STATUS), _read(path / "submitted.json", SUBMITTED)
    # Compared are the times of files, which one clock gives; those of nodes may be seconds apart.
    touched, told, submitted = (_changed(path / name) for name in ("lock", "status.json", "submitted.json"))
    written = max(told, *(_changed(path / name) for name in ("config.yaml", "metrics.jsonl")))
    state, reason = status.get("state"), status.get("reason")
    if state not in ENDED:
        if holder and holder.alive:
            state, reason = "running", None
        elif submitted > max(told, touched):
            state, reason = "queued", None
        elif state not in ("interrupted", "failed"):
            state, reason = "lost", f"{holder.name} is gone" if holder else "no process works here"
            reason += "; status.json is damaged" * bool(told and not status)
    latest = _latest_numbers(path / "metrics.jsonl")
    accuracy_of = next((key for key in ACCURACIES if key in latest), None)
    job = (submission if submitted > told else status).get("job")
    sign = {"queued": submitted, "lost": touched}.get(state) or written or touched
    return RunState(
        path=path,
        experiment=path.resolve().parent.parent.name,
        state=state,
        step=max(
            (step for step in (status.get("step"), latest.get("step")) if step is not None), default=None
        ),
        steps=status.get("steps")
        or _length(submission.get("config") or _read(path / "config.yaml", dict, parse=parse_yaml)),
        accuracy=latest[accuracy_of] if accuracy_of else None,
        accuracy_of=accuracy_of,
        images_per_second=latest.get(PACE),
        age=max(0.0, time.time() - sign) if sign else None,
        job=job,
        log=submission.get("log") if job is not None and job == submission.get("job") else None,
        reason=None if reason is None else " ".join(reason.split()),
    )


def _latest_numbers(metrics: Path) -> dict[str, Any]:
    """The last step, pace and accuracy in metrics.jsonl, which is read from its end, since it may be long."""
    latest: dict[str, Any] = {}
    with contextlib.suppress(OSError), metrics.open("rb") as file:
        for line in _lines_from_the_end(file):
            if PACE in latest and b"accuracy" not in line:
                continue
            try:
                record = parse_record(line, ROW)
            except ValueError:
                continue  # cut off, or damaged
            for key in ("step", PACE, *ACCURACIES):
                if misfit(record.get(key), NUMBER) is None:
                    latest.setdefault(key, record[key])
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


def _length(config: Mapping[str, Any]) -> int | None:
    """The steps of a run with this config; None where it does not say."""
    steps, factor = config.get("steps"), config.get("steps_factor", 1.0)
    if misfit(steps, NUMBER) or misfit(factor, NUMBER) or not math.isfinite(steps * factor):
        return None
    return round(steps * factor)


def _read(path: Path, shape: Shape, **how: Any) -> dict[str, Any]:
    """The record; empty where there is none, or where it is damaged."""
    with contextlib.suppress(Damaged):
        return read_record(path, shape, **how) or {}
    return {}


def _changed(path: Path) -> float:
    """The file's modification time, in seconds since the epoch; 0 where there is no file."""
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
