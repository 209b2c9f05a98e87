"""Closed terminals and killed parents end runs cleanly; half-set variables give one line."""

import contextlib
import os
import pty
import re
import signal
import subprocess
import sys
import time

import pytest

from bn.cli import planned_run
from bn.distributed.ranks import Ranks, ranks_from_env
from bn.errors import UserError
from bn.files import REPOSITORY
from bn.run.checkpoint import list_checkpoints
from bn.run.directory import RunDirectory

LONG = ("experiment=mnist_bn", "steps=1000000", "checkpoint_every=1000000", "evaluate.at.every=1000000")


def logged(run):
    with contextlib.suppress(OSError):
        return (run.path / "metrics.jsonl").stat().st_size > 0
    return False


@pytest.mark.slow
def test_sighup_saves_as_sigterm_does(start, typed, planned):
    run = planned(*LONG)
    process = start(*typed(*LONG))
    process.until(lambda: logged(run))
    os.kill(process.pid, signal.SIGHUP)
    code, out, err = process.wait()
    assert (code, err) == (128 + signal.SIGHUP, "")
    assert "SIGHUP: the same command resumes it" in out
    assert (run.status["state"], run.status["reason"]) == ("interrupted", "SIGHUP")
    assert len(list_checkpoints(run.checkpoints)) == 1


@pytest.mark.slow
def test_under_nohup_it_trains_on(start, typed, planned):
    run = planned(*LONG)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        process = start(*typed(*LONG))
    finally:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
    process.until(lambda: logged(run))
    os.kill(process.pid, signal.SIGHUP)
    time.sleep(1)
    assert process.process.poll() is None
    assert run.status["state"] == "running"


@pytest.mark.slow
def test_a_terminal_that_closes(typed, planned, until):
    """The progress bar can no longer write to it."""
    run = planned(*LONG)
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(sys.executable, [sys.executable, str(REPOSITORY / "train.py"), *typed(*LONG)])
    try:
        until(lambda: logged(run))
        os.close(terminal)
        until(lambda: run.status["state"] != "running")
        assert (run.status["state"], run.status["reason"]) == ("interrupted", "SIGHUP")
        assert len(list_checkpoints(run.checkpoints)) == 1
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


@pytest.mark.slow
def test_children_of_reproduce_end_with_it_and_are_saved(typed, tmp_path, until):
    """When killed, it cannot forward a signal to its children."""
    run = planned_run([*typed(*LONG)])
    code = (
        "import sys; sys.argv[0] = 'reproduce.py'\n"
        "from scripts.reproduce import run\n"
        "run('train.py', sys.argv[1:])\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, *typed(*LONG)], cwd=REPOSITORY, stdout=subprocess.DEVNULL
    ) as parent:
        until(lambda: logged(run))
        parent.kill()
    until(lambda: run.status["state"] != "running")
    assert (run.status["state"], run.status["reason"]) == ("interrupted", "SIGTERM")
    again = RunDirectory(run.path, run.config)
    until(lambda: opens(again))
    again.close()


def opens(run):
    try:
        run.open()
    except UserError:
        return False
    return True


ALONE = {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "1"}
VALUES = ("0", "1", "2", "", "x", "-1", "1.5", "٣", "99999999999999999999")


def subsets(names):
    for number in range(1 << len(names)):
        yield [name for i, name in enumerate(names) if number >> i & 1]


def test_any_of_the_variables_may_be_set_for_one_process():
    for names in subsets(list(ALONE)):
        assert ranks_from_env({name: ALONE[name] for name in names}) == Ranks()


@pytest.mark.parametrize("names", [names for names in subsets(list(ALONE)) if names], ids="+".join)
def test_half_set_variables_are_one_line(names):
    tried = 0
    for value in VALUES:
        for changed in names:
            environment = {**{name: ALONE[name] for name in names}, changed: value, "MASTER_ADDR": "a"}
            tried += 1
            try:
                ranks = ranks_from_env(environment)
            except UserError as error:
                line = str(error)
            else:
                assert ranks.size >= 1
                continue
            assert line.isprintable()
            assert re.search("RANK|WORLD_SIZE|MASTER", line)
    assert tried == len(VALUES) * len(names)


@pytest.mark.slow
@pytest.mark.parametrize("value", VALUES)
def test_half_set_variables_of_slurm_are_one_line(value, cli, typed, monkeypatch):
    for name in (
        "SLURM_JOB_ID",
        "SLURM_ARRAY_JOB_ID",
        "SLURM_ARRAY_TASK_ID",
        "SLURM_STEP_NUM_TASKS",
        "SLURM_PROCID",
    ):
        with monkeypatch.context() as patch:
            patch.setenv(name, value)
            code, _, err = cli(*typed("experiment=mnist_bn", "steps=20"))
        assert code in (0, 1)
        assert err.count("\n") == code
