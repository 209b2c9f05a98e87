"""A job that receives a stop signal is requeued, unless it was cancelled or ended."""

import signal

import pytest

from bn.cluster.requeue import Limits, requeue_job
from bn.run.state import state_of
from bn.run.submission import submission

LIMITS = Limits(signal_delay_s=120, max_num_timeout=1)


@pytest.fixture
def waited(monkeypatch):
    """Counts the waits for SLURM to end this process."""
    calls = []
    monkeypatch.setattr("bn.cluster.slurm.wait_for_the_end", lambda: calls.append(1))
    return calls


@pytest.mark.parametrize(
    ("number", "job"),
    [
        (signal.SIGTERM, "RUNNING None\n"),
        (signal.SIGUSR2, "RUNNING None\n"),
        (signal.SIGUSR2, "SIGNALING None\n"),  # while the signal is being sent
        (signal.SIGTERM, "COMPLETING TimeLimit\n"),
    ],
)
def test_a_running_job_is_requeued(slurm, in_job, waited, with_status, number, job, capsys):
    run = with_status("interrupted", 40, number.name)
    slurm.job = job
    assert requeue_job(run, number, LIMITS) == "requeued as job 123_4"
    assert capsys.readouterr().out.endswith(f"at step 40; {number.name}: requeued as job 123_4\n")
    assert slurm.asked == ["requeue 123_4"]
    assert waited == [1]
    assert (run.status["state"], run.status["step"]) == ("interrupted", 40)
    assert run.status["reason"] == f"{number.name}: requeued as job 123_4"


@pytest.mark.parametrize(
    ("job", "why"),
    [
        ("COMPLETING None\n", "job 123_4 is completing"),  # by scancel
        ("PENDING BeginTime\n", "job 123_4 is pending"),  # SLURM has put it back
        (
            None,
            "job 123_4 is not requeued, since squeue does not answer",
        ),
    ],
)
def test_any_other_is_not(slurm, in_job, waited, with_status, job, why):
    run = with_status("interrupted", 40, "SIGTERM")
    slurm.job = job
    assert requeue_job(run, signal.SIGTERM, LIMITS) == "the same command resumes it"
    assert (slurm.asked, waited) == ([], [])
    assert run.status["reason"] == f"SIGTERM; {why}"


def test_outside_slurm_nothing_is_called(slurm, waited, with_status):
    assert requeue_job(with_status("interrupted"), signal.SIGTERM, None) == "the same command resumes it"
    assert (slurm.asked, waited) == ([], [])


def test_what_slurm_refuses(slurm, in_job, waited, with_status):
    run = with_status("interrupted", 40, "SIGTERM")
    slurm.job, slurm.refusal = "RUNNING None\n", "Requested operation is presently disabled\n"
    assert requeue_job(run, signal.SIGTERM, LIMITS) == "the same command resumes it"
    assert waited == []
    assert (run.status["state"], run.status["reason"]) == (
        "interrupted",
        "SIGTERM; job 123_4 cannot be requeued (Requested operation is presently disabled)",
    )


def test_a_job_reaches_its_time_limit_as_often_as_it_may(slurm, in_job, waited, with_status, monkeypatch):
    run = with_status("interrupted", 40, "SIGUSR2")
    slurm.job, slurm.left = "RUNNING None\n", "2:30\n"
    assert requeue_job(run, signal.SIGUSR2, LIMITS).startswith("requeued")
    assert submission(run)["time_limits"] == 1
    assert requeue_job(run, signal.SIGUSR2, LIMITS) == "the same command resumes it"
    assert run.status["reason"] == (
        "SIGUSR2; job 123_4 has reached its time limit 2 times (hydra.launcher.max_num_timeout=1)"
    )
    assert state_of(run.path).state == "interrupted"  # not queued, though its submission was updated
    assert len(slurm.asked) == 1
    # A user's own job script sets no such limit, and has to opt in.
    assert requeue_job(run, signal.SIGUSR2, None) == "the same command resumes it"
    assert len(slurm.asked) == 1
    monkeypatch.setenv("BN_REQUEUE", "1")
    assert requeue_job(run, signal.SIGUSR2, None).startswith("requeued")


def test_preemption_is_no_time_limit(slurm, in_job, waited, with_status):
    run = with_status("interrupted", 40, "SIGUSR2")
    slurm.job, slurm.left = "RUNNING None\n", "3:30:00\n"  # some clusters preempt with this signal too
    for _ in range(3):
        assert requeue_job(run, signal.SIGUSR2, LIMITS).startswith("requeued")
    assert "time_limits" not in submission(run)


def test_ctrl_c_does_not_requeue(slurm, in_job, waited, with_status):
    """Ctrl-C comes from a person working in the job."""
    slurm.job = "RUNNING None\n"
    assert requeue_job(with_status("interrupted", 40), signal.SIGINT, LIMITS) == "the same command resumes it"
    assert slurm.asked == []
