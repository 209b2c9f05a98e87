"""The run directory, which holds all records of a run.

config.yaml       the resolved config
env.json          commit, versions, device, command; those of later starts under "resumed"
metrics.jsonl     one object per logged step; the source of truth
activations.npz   percentiles of the nonlinearities' inputs
status.json       state (running, done, diverged, failed, interrupted), step, reason, SLURM job
submitted.json    job, commit and config of a run submitted to SLURM, written before it starts
checkpoints/      the last two
train.log         everything that was printed (bn/run/transcript.py); not read by any code
lock              held by the process that works here, and names it (bn/run/lock.py, bn/run/heartbeat.py)

bn/run/state.py derives the state of a run from these files.
"""

import contextlib
import hashlib
import itertools
import json
import os
import platform
import shlex
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import yaml

from bn.config import Config, MnistData, changes, to_dict
from bn.config.notation import typed
from bn.errors import UserError, listed, printable
from bn.files import (
    NUMBER,
    TEXT_OR_NONE,
    Damaged,
    mismatch,
    parse_record,
    parse_yaml,
    read_record,
    read_regular,
    write_atomically,
)
from bn.run.code_state import CodeState, short
from bn.run.environment import environment, job_id
from bn.run.lock import RunLock

ENDED = ("done", "diverged")
RECORDS = ("metrics.jsonl", "activations.npz")  # status.json holds their digests once the run has ended
REMEDY = "restore it, or choose another output=... to train again"

# The shapes of the records (bn/files.py).
DIGEST = {"bytes": int, "sha256": str}
STATUS = {
    "state": frozenset({"running", "interrupted", "failed", *ENDED}), "step": int, "steps?": int,
    "reason?": TEXT_OR_NONE, "job?": TEXT_OR_NONE,
    "records?": {f"{name}?": DIGEST for name in RECORDS},
}  # fmt: skip
START = {
    "command": str, "commit": TEXT_OR_NONE, "dirty": (bool, type(None)), "changes?": TEXT_OR_NONE,
    "time": str, "processor": str, "platform": str, "python": str, "torch": str,
    "device": {"type": str, "name": str},
}  # fmt: skip
ENV = {**START, "resumed": [START], "extends?": {"run": str, "steps": int}}
ROW = {"step": int}

# A run may resume with other values of these keys: they change where or when numbers are written, not which.
NOT_COMPARED = (
    "output", "data.workers", "logger.", "checkpoint_every", "checkpoint_minutes", "rank_timeout_s", "extend",
)  # fmt: skip
# Other values of these keys change the records, but not the training.
RECORDED = ("log_every", "evaluate.at.", "observe", "probe.")


class RunDirectory:
    """The directory of one run. Nothing is created before `open`."""

    def __init__(self, path: Path, config: Config) -> None:
        self.path = path
        self.config = config
        self.command = shlex.join(sys.argv)  # bn/cli replaces that of a sweep by the member's own
        self.sweep: str | None = None  # the prepared sweep that starts the run, if any
        self.checkpoints = path / "checkpoints"
        self.activations = path / "activations.npz"
        self._lock: RunLock | None = None
        self._metrics: IO[str] | None = None

    @property
    def name(self) -> str:
        """The path as the user would type it."""
        return os.path.relpath(self.path)

    @property
    def status(self) -> dict[str, Any]:
        """The content of `status.json`; empty if it is missing or damaged."""
        try:
            return self.read_status()
        except Damaged:
            return {}

    def read_status(self) -> dict[str, Any]:
        """The content of `status.json`; empty if it is missing. Raises Damaged."""
        return read_record(self.path / "status.json", STATUS, "the same command writes it again") or {}

    @property
    def finished(self) -> bool:
        return self.status.get("state") in ENDED

    def summary(self) -> str:
        """One line with path, state, step, reason and the last accuracies."""
        status = self.status
        step = status.get("step", 0)
        latest: dict[str, Any] = {}
        with contextlib.suppress(OSError, Damaged):  # it may be the cause of the failure
            for line in read_lines(self.path / "metrics.jsonl"):
                step = max(step, line["step"])  # status.json holds the last saved step
                latest.update({key: value for key, value in line.items() if "accuracy" in key})
        parts = [f"{self.name}: {status.get('state')} at step {step:,}"]
        if status.get("reason"):
            parts.append(" ".join(status["reason"].split()))
        if latest:
            parts.append(", ".join(f"{key} {value:.4f}" for key, value in latest.items()))
        return printable("; ".join(parts))

    def check_config(self) -> None:
        """Raise UserError, naming the keys, if this directory contains a run with another config."""
        saved = read_record(
            self.path / "config.yaml", dict, "restore it, or choose another output=...", parse_yaml
        )
        if saved is None:
            return
        different = self.differences(saved)
        if different:
            raise UserError(
                f"{self.name}: contains a run with another config: {listed(different)}: "
                "choose another output=..."
            )

    def differences(self, saved: Mapping[str, Any]) -> list[str]:
        """The keys, with both values, whose difference makes `saved` the config of another run."""
        return [
            f"{key} (there {typed(there)}, here {typed(here)}"
            f"{', which changes the records' * key.startswith(RECORDED)})"
            for key, (there, here) in changes(saved, self.config).items()
            if is_compared(key, self.config)
        ]

    def code_change(self, now: CodeState) -> str:
        """Describe how the code changed since the run's last start; empty if it did not."""
        with contextlib.suppress(Damaged):
            if env := read_record(self.path / "env.json", ENV):
                then = (env["resumed"] or [env])[-1]
                same = then["commit"] == now.commit and then.get("changes", now.digest) == now.digest
                if not same and None not in (then["commit"], now.commit):
                    changed = " with changes" * bool(then["dirty"])
                    return f"its code was {short(then['commit'])}{changed}, now it is {now.name}"
        return ""

    def check_records(self) -> None:
        """Raise UserError if a record of an ended run is missing, damaged or has changed since it ended."""
        found = {
            "config.yaml": read_record(self.path / "config.yaml", dict, REMEDY, parse_yaml),
            "env.json": read_record(self.path / "env.json", ENV, REMEDY),
        }
        for name, record in found.items():
            if record is None:
                raise Damaged(self.path / name, "missing", REMEDY)
        for name, digest in self.read_status().get("records", {}).items():
            if digest_of(self.path / name) != digest:
                raise Damaged(self.path / name, "changed since the run ended", REMEDY)

    def open(self) -> None:
        """Create and lock the directory. Raises UserError if it is not writable, InUse if it is locked."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock = RunLock(self.path, self.name)
            self.check_config()  # again, now that no other process can write it
            self._lock.introduce()
            write_atomically(self.path / "config.yaml", yaml.safe_dump(to_dict(self.config), sort_keys=False))
        except UserError:
            self.close()
            raise
        except OSError as error:
            self.close()
            raise UserError(f"{self.name}: cannot be written ({error.strerror})") from error

    def close(self) -> None:
        if self._metrics is not None:
            with contextlib.suppress(OSError):  # a full disk, which was reported on writing
                self._metrics.close()
        if self._lock is not None:
            self._lock.close()
        self._metrics = self._lock = None

    def metrics_up_to(self, step: int, digest: Mapping[str, Any] | None) -> bytes:
        """Return the content of metrics.jsonl up to the checkpoint of `step`.

        `digest`: that of the file when the checkpoint was saved; None if the checkpoint lacks it. Raises
        UserError if that part of the file is damaged or missing.
        """
        path = self.path / "metrics.jsonl"
        content = _read(path) or b""
        if digest is not None:
            kept = content[: digest["bytes"]]
            if hashlib.sha256(kept).hexdigest() != digest["sha256"]:
                raise Damaged(path, f"before the checkpoint of step {step:,}", REMEDY)
            return kept
        lines = [(line, row) for line, row in _rows(path, content) if row["step"] <= step]
        missing = expected_rows(self.config, step) - {row["step"] for _, row in lines}
        if missing:
            raise Damaged(path, f"nothing is recorded of step {min(missing):,}", REMEDY)
        return b"".join(line + b"\n" for line, _ in lines)

    def start(
        self, step: int, device: Mapping[str, Any], digest: Mapping[str, Any] | None = None,
        weights: Mapping[str, Any] | None = None,
    ) -> None:  # fmt: skip
        """Record the environment of a start at `step`, and truncate metrics.jsonl to `step`.

        `digest`: that of metrics.jsonl in the checkpoint of `step`. `weights`: the origin of a new run's
        weights. Raises UserError, before anything is written, if a record of the earlier steps is damaged.
        """
        metrics = self.metrics_up_to(step, digest) if step else b""
        path = self.path / "env.json"
        facts = {"command": self.command, **environment(), "device": dict(device), "step": step}
        facts |= {"start": dict(weights)} if weights else {}
        known = read_record(path, ENV, "restore it, or move it away to continue without it") if step else None
        known = {**known, "resumed": [*known["resumed"], facts]} if known else {**facts, "resumed": []}
        write_atomically(path, json.dumps(known, indent=2) + "\n")
        write_atomically(self.path / "metrics.jsonl", metrics)
        self._metrics = (self.path / "metrics.jsonl").open("a")

    def log(self, record: Mapping[str, Any]) -> None:
        """Append one object to metrics.jsonl, flushed to the operating system before this returns."""
        assert self._metrics is not None, "call start first"
        self._metrics.write(json.dumps(record, allow_nan=False) + "\n")
        self._metrics.flush()

    def sync(self) -> Mapping[str, Any] | None:
        """Sync metrics.jsonl to disk, which has to precede a checkpoint, and return its digest."""
        assert self._metrics is not None, "call start first"
        os.fsync(self._metrics.fileno())
        return digest_of(self.path / "metrics.jsonl")

    def set_status(self, state: str, step: int, reason: str | None = None) -> None:
        status = {
            "state": state,
            "step": step,
            "steps": self.config.length,
            "reason": reason,
            "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            "pid": os.getpid(),
            "host": platform.node(),
            "job": job_id(),
        }
        if state in ENDED:
            found = {name: digest_of(self.path / name) for name in RECORDS}
            status["records"] = {name: digest for name, digest in found.items() if digest}
        write_atomically(self.path / "status.json", json.dumps(status, indent=2) + "\n")


class NoRunDirectory(RunDirectory):
    """The run directory as ranks other than 0 see it: readable, but nothing is written."""

    def _ignore(self, *_: Any, **__: Any) -> None:
        pass

    open = start = log = sync = set_status = _ignore


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a metrics.jsonl, without a last line truncated by a kill or a full disk.

    Raises Damaged if any other line is not a row, or the steps do not increase.
    """
    return [row for _, row in _rows(path, _read(path) or b"")]


def _rows(path: Path, content: bytes) -> Iterator[tuple[bytes, dict[str, Any]]]:
    """Yield each line and the row parsed from it."""
    *lines, torn = content.split(b"\n")
    last = -1
    for number, line in enumerate((*lines, torn) if torn else lines, start=1):
        try:
            row = parse_record(line, ROW)
            wrong = next((found for key in row if (found := mismatch(row[key], NUMBER, key))), None)
            if wrong or row["step"] <= last:
                raise ValueError(wrong or f"step {row['step']:,} after {last:,}")
        except ValueError as error:
            if number > len(lines):
                return
            raise Damaged(path, f"line {number}: {error}", REMEDY) from error
        last = row["step"]
        yield line, row


def expected_rows(config: Config, step: int) -> set[int]:
    """The steps up to `step` that have a row in metrics.jsonl whatever is observed."""
    logged = range(config.log_every, step + 1, config.log_every)
    return {n for n in itertools.chain(logged, config.evaluate.at.steps(config.length)) if n <= step}


def digest_of(path: Path) -> dict[str, Any] | None:
    """Return the size and SHA-256 of a file; None if there is none."""
    content = _read(path)
    if content is None:
        return None
    return {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def _read(path: Path) -> bytes | None:
    """Read a file; None if there is none. Raises Damaged if it cannot be read."""
    try:
        return read_regular(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Damaged(path, f"cannot be read: {error.strerror}", REMEDY) from error


def is_compared(key: str, config: Config) -> bool:
    """Return whether another value of this flattened key makes another run.

    This includes the folder of an image data set, whose content may differ; MNIST's files are verified.
    """
    free = (*NOT_COMPARED, "data.root") if isinstance(config.data, MnistData) else NOT_COMPARED
    return not key.startswith(free)
