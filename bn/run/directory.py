"""The run directory: what a run leaves on disk, and the only record that others build on.

config.yaml       the resolved config
env.json          commit, versions, device, command; of later starts under "resumed"
metrics.jsonl     one object per logged step; the source of truth
activations.npz   percentiles of the nonlinearities' inputs
status.json       state (running, done, diverged, failed, interrupted), step, reason, SLURM job
submitted.json    of a run submitted to SLURM: its job, commit and config, written before it starts
checkpoints/      the last two
lock              held and touched by the process that works here, and naming it (bn/run/heartbeat.py)

bn/run/state.py reads from it how the run stands.
"""

import contextlib
import fcntl
import json
import os
import platform
import shlex
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import yaml

from bn.cluster.slurm import job_id
from bn.config import Config, MnistData, changes, to_dict
from bn.errors import UserError
from bn.run.code_state import REPOSITORY as REPOSITORY
from bn.run.code_state import code_state
from bn.run.heartbeat import Heartbeat, introduction

ENDED = ("done", "diverged")
# A run goes on with other values of these: they change where numbers go, or when, not the numbers.
NOT_COMPARED = ("output", "data.workers", "logger.", "checkpoint_minutes", "rank_timeout_s")


class InUse(UserError):
    """Another process works in the run directory."""


class RunDirectory:
    """One run's directory. Nothing is created before `open`."""

    def __init__(self, path: Path, config: Config) -> None:
        self.path = path
        self.config = config
        self.command = shlex.join(sys.argv)  # of a sweep's member, bn/cli.py says what makes it alone
        self.checkpoints = path / "checkpoints"
        self.activations = path / "activations.npz"
        self._lock: IO[str] | None = None
        self._heartbeat: Heartbeat | None = None
        self._metrics: IO[str] | None = None

    @property
    def name(self) -> str:
        """The path as the user would type it."""
        return os.path.relpath(self.path)

    @property
    def status(self) -> dict[str, Any]:
        """What `status.json` says; empty where there is none, or where it cannot be read."""
        try:
            return json.loads((self.path / "status.json").read_text())
        except (OSError, ValueError):
            return {}

    @property
    def finished(self) -> bool:
        return self.status.get("state") in ENDED

    def summary(self) -> str:
        """One line: where, state, step, reason, the last accuracies."""
        status = self.status
        latest: dict[str, Any] = {}
        with contextlib.suppress(OSError):  # it may be what went wrong
            for line in read_lines(self.path / "metrics.jsonl"):
                latest.update({key: value for key, value in line.items() if "accuracy" in key})
        parts = [f"{self.name}: {status.get('state')} at step {status.get('step'):,}"]
        if status.get("reason"):
            parts.append(status["reason"])
        if latest:
            parts.append(", ".join(f"{key} {value:.4f}" for key, value in latest.items()))
        return "; ".join(parts)

    def check_config(self) -> None:
        """UserError naming the keys if this directory holds a run of another config."""
        try:
            text = (self.path / "config.yaml").read_text(errors="replace")
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as error:
            raise UserError(f"{self.name}/config.yaml: cannot be read ({error.strerror})") from error
        try:
            saved = yaml.safe_load(text)
            different = [
                f"{key} (there {there}, here {here})"
                for key, (there, here) in changes(saved, self.config).items()
                if is_compared(key, self.config)
            ]
        except (yaml.YAMLError, AttributeError) as error:  # not YAML, or not a mapping
            raise UserError(
                f"{self.name}/config.yaml: damaged: restore it, or choose another output=..."
            ) from error
        if different:
            raise UserError(
                f"{self.name}: holds a run of another config: {', '.join(different)}: "
                "choose another output=..."
            )

    def open(self) -> None:
        """Create the directory and take its lock. UserError if unwritable, InUse if it is taken."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock = (self.path / "lock").open("a+")
        except OSError as error:
            raise UserError(f"{self.name}: cannot be written ({error.strerror})") from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._lock.seek(0)
            holder = self._lock.readline().strip() or "another process"
            self.close()
            raise InUse(f"{self.name}: in use by {holder}: wait for it, or stop it") from None
        except OSError as error:
            self.close()
            raise UserError(f"{self.name}: cannot be locked ({error.strerror})") from error
        self.check_config()  # again, now that nobody else can write it
        self._heartbeat = Heartbeat(self.path / "lock")
        try:
            self._lock.truncate(0)
            self._lock.write(introduction())
            self._lock.flush()
            write_whole(self.path / "config.yaml", yaml.safe_dump(to_dict(self.config), sort_keys=False))
        except OSError as error:
            self.close()
            raise UserError(f"{self.name}: cannot be written ({error.strerror})") from error

    def close(self) -> None:
        if self._lock is not None and self._heartbeat is not None:
            self._heartbeat.stop()
            with contextlib.suppress(OSError):
                self._lock.truncate(0)  # nobody works here now
        for file in (self._metrics, self._lock):
            if file is not None:
                with contextlib.suppress(OSError):  # of what a full disk did not take, told when written
                    file.close()
        self._metrics = self._lock = self._heartbeat = None

    def start(self, step: int, device: Mapping[str, Any]) -> None:
        """Record the start of work at `step`: the environment, and metrics.jsonl cut back to `step`."""
        path = self.path / "env.json"
        facts = {"command": self.command, **environment(), "device": dict(device), "step": step}
        try:
            known = json.loads(path.read_text()) if step else {}
        except (OSError, ValueError):
            known = {}
        known = {**known, "resumed": [*known["resumed"], facts]} if known else {**facts, "resumed": []}
        write_whole(path, json.dumps(known, indent=2) + "\n")

        metrics = self.path / "metrics.jsonl"
        kept = [line for line in read_lines(metrics) if line["step"] <= step] if step else []
        write_whole(metrics, "".join(json.dumps(line) + "\n" for line in kept))
        self._metrics = metrics.open("a")

    def log(self, record: Mapping[str, Any]) -> None:
        """Append one object to metrics.jsonl; it is in the operating system's hands when this returns."""
        assert self._metrics is not None, "start comes first"
        self._metrics.write(json.dumps(record, allow_nan=False) + "\n")
        self._metrics.flush()

    def sync(self) -> None:
        """Wait until metrics.jsonl is on the disk: a checkpoint must not outlive the lines before it."""
        assert self._metrics is not None, "start comes first"
        os.fsync(self._metrics.fileno())

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
        write_whole(self.path / "status.json", json.dumps(status, indent=2) + "\n")


class NoRunDirectory(RunDirectory):
    """For the processes that train together with the one that writes: it can be read, and stays as it is."""

    def open(self) -> None:
        pass

    def start(self, step: int, device: Mapping[str, Any]) -> None:
        pass

    def log(self, record: Mapping[str, Any]) -> None:
        pass

    def sync(self) -> None:
        pass

    def set_status(self, state: str, step: int, reason: str | None = None) -> None:
        pass


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The objects of a metrics.jsonl; a last line cut short by a kill or a full disk is left out."""
    lines = []
    try:
        text = path.read_text(errors="replace")
    except FileNotFoundError:
        return lines
    for line in text.splitlines():
        try:
            lines.append(json.loads(line))
        except ValueError:
            break
    return lines


def environment() -> dict[str, Any]:
    """Commit, versions and machine: what a number needs to be traced."""
    import numpy
    import torch

    code = code_state()
    return {
        "commit": code.commit,
        "dirty": None if code.commit is None else bool(code.changes),
        "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "host": platform.node(),
        "platform": platform.platform(),
        "processor": processor(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": numpy.__version__,
    }


def processor() -> str:
    """The model name of the CPU."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{names[0]}, {len(names)} cores" if names else platform.processor()


def is_compared(key: str, config: Config) -> bool:
    """Whether this flattened key makes a run what it is: with another value it is another run.

    So is the folder of its pictures, since two may hold other ones; MNIST is verified wherever it is.
    """
    free = (*NOT_COMPARED, "data.root") if isinstance(config.data, MnistData) else NOT_COMPARED
    return not key.startswith(free)


def write_whole(path: Path, text: str) -> None:
    """Replace a file whole or not at all."""
    part = path.with_name(f"{path.name}.{os.getpid()}-{threading.get_ident()}.part")  # two threads may write
    try:
        part.write_text(text)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
