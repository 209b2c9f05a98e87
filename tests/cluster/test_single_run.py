"""Failures in a job are recorded in its status, even before its run directory is open."""

import signal

import pytest

from bn.cli import single_run as module
from bn.cli.single_run import attempt
from bn.distributed.ranks import Ranks
from bn.errors import Interrupted, UserError
from bn.run.code_state import code_state
from bn.run.directory import RunDirectory
from bn.run.lock import InUse
from bn.run.submission import record_job, record_submission

LAUNCHER = {"changed": "stop", "signal_delay_s": 120, "max_num_timeout": 1}


def no_work(*_):
    raise AssertionError("it is not to come to that")


@pytest.fixture
def run(planned):
    return planned("experiment=mnist_bn")


@pytest.fixture
def no_device(monkeypatch):
    def refuse(*_):
        raise UserError("device=cuda: no CUDA device is available; accepted: auto, cpu")

    monkeypatch.setattr(module, "check_device", refuse)


def submit(run, job="123_4"):
    record_submission(run, code_state())
    record_job(run, job, run.path / "log")


def test_a_refusal_in_a_job(slurm, in_job, run, no_device):
    submit(run)
    state, line = attempt(run, Ranks(), LAUNCHER, no_work)
    assert (state, line) == (
        "failed",
        f"{run.name}: device=cuda: no CUDA device is available; accepted: auto, cpu",
    )
    assert (run.status["state"], run.status["job"]) == ("failed", "123_4")
    assert run.status["reason"].startswith("device=cuda: ")


def test_a_refusal_elsewhere_leaves_nothing(slurm, run, no_device, monkeypatch):
    with pytest.raises(UserError, match="no CUDA device"):
        attempt(run, Ranks(), {}, no_work)
    assert not run.path.exists()
    submit(run, "99")  # for another job
    monkeypatch.setenv("SLURM_JOB_ID", "127")
    with pytest.raises(UserError, match="no CUDA device"):
        attempt(run, Ranks(), LAUNCHER, no_work)
    assert run.status == {}


def test_a_finished_run_stays_finished(slurm, in_job, with_status, no_device):
    run = with_status("done", 120)
    submit(run)
    assert attempt(run, Ranks(), LAUNCHER, no_work)[0] == "failed"
    assert run.status["state"] == "done"


def test_stopped_before_it_begins(slurm, in_job, run, monkeypatch):
    """The job is requeued, as it has done nothing yet."""
    submit(run)
    slurm.job = "RUNNING None\n"
    monkeypatch.setattr(module, "stop_signal", lambda: signal.SIGTERM)
    monkeypatch.setattr("bn.cluster.slurm.wait_for_the_end", lambda: None)
    assert attempt(run, Ranks(), LAUNCHER, no_work) == ("interrupted", f"{run.name}: not started")
    assert slurm.asked == ["requeue 123_4"]
    assert run.status["reason"] == "SIGTERM: requeued as job 123_4"


def test_a_job_waits_for_the_process_of_its_last_start(slurm, in_job, run, monkeypatch):
    """The process on a lost node may seem alive for a while."""
    submit(run)
    held = RunDirectory(run.path, run.config)
    held.open()
    waits = []

    def sleep(seconds):
        waits.append(seconds)
        if len(waits) == 3:
            held.close()

    def work(*_):
        raise Interrupted(signal.SIGINT)

    monkeypatch.setattr("time.sleep", sleep)
    assert attempt(run, Ranks(), LAUNCHER, lambda _, run: run.set_status("done", 120))[0] == "done"
    assert len(waits) == 3
    held.open()
    monkeypatch.setattr(module, "PATIENCE_S", 0.0)
    (run.path / "status.json").unlink()
    with pytest.raises(InUse):
        attempt(run, Ranks(), LAUNCHER, work)
    held.close()


def test_other_ranks_write_nothing(slurm, in_job, run, no_device):
    submit(run)
    assert attempt(run, Ranks(1, 2), LAUNCHER, no_work) == ("failed", "")
    assert run.status == {}
