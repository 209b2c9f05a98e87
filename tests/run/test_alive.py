"""While a process works in a run directory the lock says so, and stops saying so when it is gone."""

import json
import os
import subprocess
import sys
import time

import pytest

from bn.run import lock as module
from bn.run.directory import REPOSITORY
from bn.run.lock import Holder, holder_of, introduction


@pytest.fixture
def lock(tmp_path):
    return tmp_path / "lock"


def aged(path, seconds):
    then = time.time() - seconds
    os.utime(path, (then, then))


SAYS = "from bn.run.lock import introduction; print(introduction(), flush=True); input()"


@pytest.fixture
def other():
    """Another process: what it would write into a lock, and how it is killed."""
    process = subprocess.Popen(
        [sys.executable, "-c", SAYS],
        cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    yield process, process.stdout.readline()
    process.kill()
    process.communicate()


def test_an_open_directory_names_this_process_and_is_touched(planned, monkeypatch):
    monkeypatch.setattr(module, "BEAT", 0.01)
    run = planned("experiment=mnist_bn")
    lock = run.path / "lock"
    run.open()
    assert holder_of(lock) == Holder(f"process {os.getpid()} on {os.uname().nodename}", True)
    for _ in range(2):
        aged(lock, 1000)
        end = time.monotonic() + 10
        while time.time() - lock.stat().st_mtime > 500 and time.monotonic() < end:
            time.sleep(0.005)
        assert time.time() - lock.stat().st_mtime < 500

    run.close()
    assert holder_of(lock) is None
    aged(lock, 1000)
    time.sleep(0.05)
    assert time.time() - lock.stat().st_mtime > 500


def test_a_killed_process_of_this_machine_is_gone_at_once(lock, other):
    process, said = other
    lock.write_text(said)
    name = f"process {process.pid} on {os.uname().nodename}"
    assert holder_of(lock) == Holder(name, True)
    process.kill()
    process.wait()
    assert holder_of(lock) == Holder(name, False)


@pytest.mark.parametrize("here", [True, False])
def test_the_touches_tell_of_all(lock, here):
    """On another machine the number is somebody else's; on this one it may be, after a reboot."""
    name = introduction().strip() if here else "process 7 on elsewhere"
    lock.write_text(f"{name}\n")
    assert holder_of(lock) == Holder(name, True)
    aged(lock, 60)
    assert holder_of(lock) == Holder(name, True)
    aged(lock, 100)
    assert holder_of(lock) == Holder(name, False)
    aged(lock, -20)  # a clock that is ahead
    assert holder_of(lock) == Holder(name, True)


def test_a_lock_that_says_nothing(lock):
    assert holder_of(lock) is None
    lock.write_bytes(b"")
    assert holder_of(lock) is None
    lock.write_bytes(b"\xff\x00 99999999999999999999 \n")
    assert holder_of(lock) is not None  # whoever that is


@pytest.mark.parametrize(
    ("environment", "job"),
    [
        ({}, None),
        ({"SLURM_JOB_ID": "17"}, "17"),
        ({"SLURM_JOB_ID": "17", "SLURM_ARRAY_JOB_ID": "15", "SLURM_ARRAY_TASK_ID": "0"}, "15_0"),
    ],
)
def test_the_status_names_the_job(planned, monkeypatch, environment, job):
    for name in ("SLURM_JOB_ID", "SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    run = planned("experiment=mnist_bn")
    run.path.mkdir(parents=True)
    run.set_status("running", 3)
    assert json.loads((run.path / "status.json").read_text())["job"] == job
