"""Fakes of SLURM's commands, to test anywhere what does not need a real queue."""

import json
import stat

import pytest


class FakeSlurm:
    """Set what squeue prints for the `queue`, one `job` and the time `left` (None: squeue fails).

    `asked`: the calls of scontrol, which refuses with `refusal` unless that is empty.
    """

    def __init__(self, folder):
        self.folder = folder
        self.asked_file = folder / "asked"
        self.asked_file.write_text("")
        self.queue, self.job, self.left, self.refusal = "", "", "UNLIMITED", ""
        answers = 'case "$*" in *%L*) cat "$0.left";; *--job*) cat "$0.job";; *) cat "$0.answer";; esac'
        self._write("squeue", answers)
        self._write(
            "scontrol", f'echo "$@" >> {self.asked_file}; cat "$0.refusal" >&2; [ ! -s "$0.refusal" ]'
        )

    def _write(self, name, script):
        path = self.folder / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)

    def __setattr__(self, name, value):
        files = {
            "queue": "squeue.answer", "job": "squeue.job", "left": "squeue.left",
            "refusal": "scontrol.refusal",
        }  # fmt: skip
        if name not in files:
            object.__setattr__(self, name, value)
        elif value is None:
            (self.folder / files[name]).unlink(missing_ok=True)
        else:
            (self.folder / files[name]).write_text(value)

    @property
    def asked(self):
        return self.asked_file.read_text().splitlines()


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """A fake cluster; this process is in none of its jobs."""
    folder = tmp_path / "commands"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder), prepend=":")
    monkeypatch.setattr("time.sleep", lambda _: None)
    for name in ("SLURM_JOB_ID", "SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID"):
        monkeypatch.delenv(name, raising=False)
    return FakeSlurm(folder)


@pytest.fixture
def in_job(monkeypatch):
    """Make this process task 4 of array 123, with raw id 127."""
    monkeypatch.setenv("SLURM_JOB_ID", "127")
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "123")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "4")


@pytest.fixture
def with_status(planned):
    """A run directory that contains only a status: `with_status("interrupted", 40, job="123_4")`."""

    def make(state, step=0, reason=None, job=None, seed=0):
        run = planned("experiment=mnist_bn", f"seed={seed}")
        run.path.mkdir(parents=True, exist_ok=True)
        run.set_status(state, step, reason)
        (run.path / "status.json").write_text(json.dumps({**run.status, "job": job}))
        return run

    return make
