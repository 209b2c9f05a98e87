"""The run directory: what a run leaves on disk, and the only record that others build on.

config.yaml       the resolved config
env.json          commit, versions, device, command; of later starts under "resumed"
metrics.jsonl     one object per logged step; the source of truth
activations.npz   percentiles of the nonlinearities' inputs
status.json       state (running, done, diverged, failed, interrupted), step, reason, SLURM job
submitted.json    of a run submitted to SLURM: its job, commit and config, written before it starts
checkpoints/      the last two
train.log         what was printed (bn/run/transcript.py); no record
lock              held by the process that works here, which it names (bn/run/lock.py, bn/run/heartbeat.py)

bn/run/state.py reads from it how the run stands.
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

from bn.cluster.slurm import job_id
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
from bn.run.code_state import REPOSITORY as REPOSITORY
from bn.run.code_state import CodeState, short
from bn.run.environment import environment
from bn.run.lock import RunLock

ENDED = ("done", "diverged")
RECORDS = ("metrics.jsonl", "activations.npz")  # whose digests status.json has once the run has ended
ELSEWHERE = "restore it, or choose another output=... to train again"

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

# A run resumes with other values of these: they change where or when numbers are written, not the numbers.
NOT_COMPARED = (
    "output", "data.workers", "logger.", "checkpoint_every", "checkpoint_minutes", "rank_timeout_s", "extend",
)  # fmt: skip
# With other values of these the training is the same, but not its records.
RECORDED = ("log_every", "evaluate.at.", "observe", "probe.")


class RunDirectory:
    """One run's directory. Nothing is created before `open`."""

    def __init__(self, path: Path, config: Config) -> None:
        self.path = path
        self.config = config
        self.command = shlex.join(sys.argv)  # of a sweep's member, bn/cli says what makes it alone
        self.sweep: str | None = None  # the prepared one that it is started in
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
        """What `status.json` says; empty where there is none, or where it is damaged."""
        try:
            return self.read_status()
        except Damaged:
            return {}

    def read_status(self) -> dict[str, Any]:
        """The same, but Damaged where it is."""
        return read_record(self.path / "status.json", STATUS, "the same command writes it again") or {}

    @property
    def finished(self) -> bool:
        return self.status.get("state") in ENDED

    def summary(self) -> str:
        """One line: where, state, step, reason, the last accuracies."""
        status = self.status
        step = status.get("step", 0)
        latest: dict[str, Any] = {}
        with contextlib.suppress(OSError, Damaged):  # it may be what went wrong
            for line in read_lines(self.path / "metrics.jsonl"):
                step = max(step, line["step"])  # the status has the last saved one
                latest.update({key: value for key, value in line.items() if "accuracy" in key})
        parts = [f"{self.name}: {status.get('state')} at step {step:,}"]
        if status.get("reason"):
            parts.append(" ".join(status["reason"].split()))
        if latest:
            parts.append(", ".join(f"{key} {value:.4f}" for key, value in latest.items()))
        return printable("; ".join(parts))

    def check_config(self) -> None:
        """UserError naming the keys if this directory holds a run of another config."""
        saved = read_record(
            self.path / "config.yaml", dict, "restore it, or choose another output=...", parse_yaml
        )
        if saved is None:
            return
        different = self.differences(saved)
        if different:
            raise UserError(
                f"{self.name}: holds a run of another config: {listed(different)}: choose another output=..."
            )

    def differences(self, saved: Mapping[str, Any]) -> list[str]:
        """The keys in which a saved config is that of another run, with both values."""
        return [
            f"{key} (there {typed(there)}, here {typed(here)}"
            f"{', which changes the records' * key.startswith(RECORDED)})"
            for key, (there, here) in changes(saved, self.config).items()
            if is_compared(key, self.config)
        ]

    def other_code(self, now: CodeState) -> str:
        """A few words where the run's last start had other code than there is `now`; else empty."""
        with contextlib.suppress(Damaged):
            if env := read_record(self.path / "env.json", ENV):
                then = (env["resumed"] or [env])[-1]
                same = then["commit"] == now.commit and then.get("changes", now.digest) == now.digest
                if not same and None not in (then["commit"], now.commit):
                    changed = " with changes" * bool(then["dirty"])
                    return f"its code was {short(then['commit'])}{changed}, now it is {now.name}"
        return ""

    def check_records(self) -> None:
        """UserError if a record of the run, which has ended, is no longer what it was then."""
        for name, then in self.read_status().get("records", {}).items():
            if digest_of(self.path / name) != then:
                raise Damaged(self.path / name, "changed since the run ended", ELSEWHERE)

    def open(self) -> None:
        """Create the directory and take its lock. UserError if unwritable, InUse if it is taken."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock = RunLock(self.path, self.name)
            self.check_config()  # again, now that nobody else can write it
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
            with contextlib.suppress(OSError):  # of what a full disk did not take, told when written
                self._metrics.close()
        if self._lock is not None:
            self._lock.close()
        self._metrics = self._lock = None

    def kept_metrics(self, step: int, then: Mapping[str, Any] | None) -> bytes:
        """What metrics.jsonl holds up to the checkpoint of `step`; what follows is written again.

        `then` is its digest when the checkpoint was saved, None of a checkpoint that does not say.
        UserError if that part of the file is damaged or missing.
        """
        path = self.path / "metrics.jsonl"
        try:
            content = read_regular(path)
        except FileNotFoundError:
            content = b""
        except OSError as error:
            raise Damaged(path, f"cannot be read: {error.strerror}", ELSEWHERE) from error
        if then is not None:
            kept = content[: then["bytes"]]
            if hashlib.sha256(kept).hexdigest() != then["sha256"]:
                raise Damaged(path, f"before the checkpoint of step {step:,}", ELSEWHERE)
            return kept
        lines = [(line, row) for line, row in _rows(path, content) if row["step"] <= step]
        lacking = wanted_rows(self.config, step) - {row["step"] for _, row in lines}
        if lacking:
            raise Damaged(path, f"nothing is recorded of step {min(lacking):,}", ELSEWHERE)
        return b"".join(line + b"\n" for line, _ in lines)

    def start(
        self, step: int, device: Mapping[str, Any], then: Mapping[str, Any] | None = None,
        weights: Mapping[str, Any] | None = None,
    ) -> None:  # fmt: skip
        """Record the start of work at `step`: the environment, and metrics.jsonl cut back to `step`.

        `then`: the digest of metrics.jsonl that the checkpoint of `step` has; `weights`: where those of a new
        run come from. UserError, before anything is written, if a record of the steps before is damaged.
        """
        metrics = self.kept_metrics(step, then) if step else b""
        path = self.path / "env.json"
        facts = {"command": self.command, **environment(), "device": dict(device), "step": step}
        facts |= {"start": dict(weights)} if weights else {}
        known = read_record(path, ENV, "restore it, or move it away to continue without it") if step else None
        known = {**known, "resumed": [*known["resumed"], facts]} if known else {**facts, "resumed": []}
        write_atomically(path, json.dumps(known, indent=2) + "\n")
        write_atomically(self.path / "metrics.jsonl", metrics)
        self._metrics = (self.path / "metrics.jsonl").open("a")

    def log(self, record: Mapping[str, Any]) -> None:
        """Append one object to metrics.jsonl; it is in the operating system's hands when this returns."""
        assert self._metrics is not None, "start comes first"
        self._metrics.write(json.dumps(record, allow_nan=False) + "\n")
        self._metrics.flush()

    def sync(self) -> Mapping[str, Any] | None:
        """Wait until metrics.jsonl is on the disk: a checkpoint must not outlive the lines before it.

        Its digest, for the checkpoint.
        """
        assert self._metrics is not None, "start comes first"
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
    """For the processes that train together with the one that writes: it can be read, and is not changed."""

    def open(self) -> None:
        pass

    def start(
        self, step: int, device: Mapping[str, Any], then: Mapping[str, Any] | None = None,
        weights: Mapping[str, Any] | None = None,
    ) -> None:  # fmt: skip
        pass

    def log(self, record: Mapping[str, Any]) -> None:
        pass

    def sync(self) -> None:
        return None

    def set_status(self, state: str, step: int, reason: str | None = None) -> None:
        pass


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The rows of a metrics.jsonl; a last line cut short by a kill or a full disk is left out.

    Damaged if any other line is no row, or the steps do not rise.
    """
    try:
        content = read_regular(path)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise Damaged(path, f"cannot be read: {error.strerror}", ELSEWHERE) from error
    return [row for _, row in _rows(path, content)]


def _rows(path: Path, content: bytes) -> Iterator[tuple[bytes, dict[str, Any]]]:
    """Each line, and the row in it."""
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
            raise Damaged(path, f"line {number}: {error}", ELSEWHERE) from error
        last = row["step"]
        yield line, row


def wanted_rows(config: Config, step: int) -> set[int]:
    """The steps up to `step` of which metrics.jsonl has a row, whatever is observed."""
    logged = range(config.log_every, step + 1, config.log_every)
    return {n for n in itertools.chain(logged, config.evaluate.at.steps(config.length)) if n <= step}


def digest_of(path: Path) -> dict[str, Any] | None:
    """The size and the SHA-256 of a file, None where there is none."""
    try:
        content = read_regular(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Damaged(path, f"cannot be read: {error.strerror}", ELSEWHERE) from error
    return {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def is_compared(key: str, config: Config) -> bool:
    """Whether this flattened key makes a run what it is: with another value it is another run.

    So is the folder of its pictures, since two may hold other ones; MNIST is verified wherever it is.
    """
    free = (*NOT_COMPARED, "data.root") if isinstance(config.data, MnistData) else NOT_COMPARED
    return not key.startswith(free)
