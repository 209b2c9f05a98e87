"""A sweep on SLURM is watched through its run directories; squeue only tells which jobs are gone."""

import pytest

from bn.cluster import jobs as module
from bn.cluster.jobs import Member, wait_for_jobs
from bn.run.commands import listing


@pytest.fixture
def answers(monkeypatch):
    """Give squeue's answers one after another, without delay; the last one repeats."""

    def give(*answers):
        rest = list(answers)
        monkeypatch.setattr(module, "queue", lambda: rest.pop(0) if len(rest) > 1 else rest[0])

    monkeypatch.setattr(module, "POLL_S", 0.0)
    monkeypatch.setattr(module, "SQUEUE_S", 0.0)
    return give


def test_ended_failed_interrupted_and_lost(with_status, answers, capsys):
    members = [
        Member(with_status("done", 120, job="9_0"), "9_0"),
        Member(with_status("failed", 40, "no space left", job="9_1", seed=1), "9_1"),
        Member(with_status("interrupted", 40, "SIGTERM", job="9_2", seed=2), "9_2"),
        Member(with_status("running", 40, job="9_3", seed=3), "9_3"),
        Member(with_status("failed", 40, "an earlier job's reason", job="8_0", seed=4), "9_4"),
    ]
    answers({"9_2": "RUNNING", "9_3": "RUNNING", "9_4": "PENDING"}, None, {"9_2": "RUNNING"}, {})
    outcomes = wait_for_jobs(members)
    assert [state for state, _ in outcomes] == ["done", "failed", "interrupted", "lost", "lost"]
    assert outcomes[0][1].endswith("seed_0: done at step 120")
    assert outcomes[1][1].endswith("seed_1: failed at step 40; no space left")
    assert outcomes[2][1].endswith("seed_2: interrupted at step 40; SIGTERM: the same command resumes it")
    assert (
        "seed_3: job 9_3 is gone (cancelled, killed, out of memory, or its node was lost)" in outcomes[3][1]
    )
    out, err = capsys.readouterr()
    assert out == f"train.py: 1 of 5: {outcomes[0][1]}\n"
    assert err.splitlines()[0] == f"train.py: 2 of 5: {outcomes[1][1]}"  # printed at once


def test_a_job_that_is_missing_for_a_moment_is_not_gone(with_status, answers):
    run = with_status("interrupted", 40, "SIGUSR2: requeued as job 9", job="9")
    seen = []

    def queue():
        seen.append(1)
        if len(seen) == 6:
            run.set_status("done", 120)
            (run.path / "status.json").write_text(
                (run.path / "status.json").read_text().replace('"job": null', '"job": "9"')
            )
        return {} if len(seen) % 2 else {"9": "PENDING"}

    answers({})
    module.queue = queue
    assert wait_for_jobs([Member(run, "9")])[0][0] == "done"


def test_without_an_answer(with_status, answers):
    """Without SLURM's controller, a sweep is still watched through its members' records."""
    run = with_status("running", 40, job="9")
    calls = []

    def queue():
        calls.append(1)
        if len(calls) == 10:
            (run.path / "status.json").write_text('{"state": "done", "step": 120, "job": "9"}')

    answers({})
    module.queue = queue
    assert wait_for_jobs([Member(run, "9")])[0][0] == "done"
    assert len(calls) >= 10


def test_stopped_while_waiting(with_status, answers, monkeypatch, capsys):
    answers({"9_0": "RUNNING", "10": "PENDING"})
    monkeypatch.setattr(module, "stop_signal", lambda: 2)
    members = [Member(with_status("running", job="9_0"), "9_0"), Member(with_status("done", seed=1), "10")]
    with pytest.raises(KeyboardInterrupt):
        wait_for_jobs(members)
    shown = listing(members[0].run.config.output)
    assert capsys.readouterr().err == (
        f"train.py: 2 members stay in the queue: `{shown}` lists them, `scancel 9 10` "
        "cancels them, the same command waits for them again\n"
    )
