"""The lock file tells whether a process works in a run directory."""

import json
import os
import subprocess
import sys
import time

import pytest

from bn.files import REPOSITORY
from bn.run import heartbeat
from bn.run.heartbeat import Holder, holder_of, introduction


@pytest.fixture
def lock(tmp_path):
    return tmp_path / "lock"


def aged(path, seconds):
    then = time.time() - seconds
    os.utime(path, (then, then))


PRINT_HOLDER = "from bn.run.heartbeat import introduction; print(introduction(), flush=True); input()"


@pytest.fixture
def other():
    """Another process, and the content of its lock file."""
    process = subprocess.Popen(
        [sys.executable, "-c", PRINT_HOLDER],
        cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    yield process, process.stdout.readline() + process.stdout.readline()
    process.kill()
    process.communicate()


def test_an_open_directory_names_this_process_and_is_renewed(planned, monkeypatch):
    monkeypatch.setattr(heartbeat, "BEAT", 0.01)
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


def test_renewal_continues_after_a_failure(tmp_path, monkeypatch):
    monkeypatch.setattr(heartbeat, "BEAT", 0.01)
    path = tmp_path / "there later"
    beating = heartbeat.Heartbeat(path)
    time.sleep(0.05)
    path.touch()
    aged(path, 1000)
    time.sleep(0.2)
    beating.stop()
    assert time.time() - path.stat().st_mtime < 500


def test_a_killed_process_on_this_machine_is_dead_at_once(lock, other):
    process, content = other
    lock.write_text(content)
    aged(lock, 1000)  # as after SIGSTOP or with a full disk
    name = f"process {process.pid} on {os.uname().nodename}"
    assert holder_of(lock) == Holder(name, True)
    lock.touch()
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # a zombie
    assert holder_of(lock) == Holder(name, False)
    process.wait()
    assert holder_of(lock) == Holder(name, False)


def test_another_process_with_the_same_pid(lock):
    who, identity = introduction().splitlines()
    pid, machine, born = identity.split()
    lock.write_text(f"{who}\n{pid} {machine} {int(born) - 1}\n")
    assert holder_of(lock) == Holder(who, False)


@pytest.mark.parametrize("identity", ["7 elsewhere/pid:[1] 99\n", "7 None None\n", ""])
def test_processes_elsewhere_are_judged_by_their_heartbeat(lock, identity):
    """On another machine, in another container or after a reboot, pid 7 is another process."""
    lock.write_text(f"process 7 on elsewhere\n{identity}")
    assert holder_of(lock) == Holder("process 7 on elsewhere", True)
    aged(lock, 60)
    assert holder_of(lock) == Holder("process 7 on elsewhere", True)
    aged(lock, 100)
    assert holder_of(lock) == Holder("process 7 on elsewhere", False)
    aged(lock, -20)  # a clock that is ahead
    assert holder_of(lock) == Holder("process 7 on elsewhere", True)


def test_empty_and_invalid_locks(lock):
    assert holder_of(lock) is None
    lock.write_bytes(b"")
    assert holder_of(lock) is None
    lock.write_bytes(b"\xff\x00 99999999999999999999 \n" + introduction().split()[-2].encode())
    assert holder_of(lock) is not None  # any holder


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
