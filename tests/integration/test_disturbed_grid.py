"""A grid that is killed and stopped in every way completes, with the same bits, by the same command."""

import os
import signal
import time
from pathlib import Path

import pytest

from bn.run.checkpoint import list_checkpoints, load_checkpoint

pytestmark = pytest.mark.slow
LAST = 3000  # long enough to be disturbed three times, also on a busy machine
LONG = (f"steps={LAST}", "checkpoint_every=100", "evaluate.at.every=1000")
GRID = ("-m", "experiment=mnist_bn,mnist_baseline", "seed=0,1", *LONG)


def last_step(run):
    checkpoints = list_checkpoints(run.checkpoints)
    return load_checkpoint(checkpoints[-1])["step"] if checkpoints else 0


def test_killed_and_stopped_in_every_way(start, command, typed, planned, undisturbed, bits, left_of_group):
    names = [
        (f"experiment={name}", f"seed={seed}") for name in ("mnist_bn", "mnist_baseline") for seed in (0, 1)
    ]
    runs = [planned(*name, *LONG) for name in names]

    def disturbed(disturb):
        """Start the grid; disturb it once two members train and have saved. What it says, and those two."""
        there = {run.path: set(list_checkpoints(run.checkpoints)) for run in runs}
        busy = []

        def both_have_saved():
            busy[:] = [
                run
                for run in runs
                if run.status.get("state") == "running"
                and Path(f"/proc/{run.status['pid']}").exists()
                and set(list_checkpoints(run.checkpoints)) - there[run.path]
            ]
            return len(busy) == 2

        before = {run.path: last_step(run) for run in runs}
        process = start(*typed(*GRID))
        process.until(both_have_saved)
        disturb(process.pid, busy)
        result = process.wait()
        assert left_of_group(process.pid) == []  # no orphan
        assert all(before[run.path] < last_step(run) < LAST for run in busy)  # it went on, and is not done
        return *result, busy

    # The whole process group at once, as when the machine goes down.
    code, _, _, busy = disturbed(lambda pid, _: os.killpg(pid, signal.SIGKILL))
    assert code == -signal.SIGKILL
    assert [run.status["state"] for run in busy] == ["running"] * 2

    # The parent alone is told to stop, as by `kill` or a scheduler: it tells its workers.
    code, out, err, busy = disturbed(lambda pid, _: os.kill(pid, signal.SIGTERM))
    assert code == 143
    assert [(r.status["state"], r.status["step"]) for r in busy] == [
        ("interrupted", last_step(r)) for r in busy
    ]
    assert len(err.splitlines()) == err.count(": the same command resumes it") == 2
    assert all(err.count(f"{run.path.parent.name}/{run.path.name}: interrupted at") == 1 for run in busy[:1])

    # Ctrl-C at a terminal: the parent and the workers hear of it, and the parent tells the workers too, which
    # may come first. For a worker that is no second Ctrl-C.
    def interrupt(pid, busy):
        for run in busy:
            os.kill(run.status["pid"], signal.SIGTERM)
        time.sleep(0.005)
        os.killpg(pid, signal.SIGINT)

    code, _, err, busy = disturbed(interrupt)
    assert code == 130
    assert len(err.splitlines()) == err.count(": the same command resumes it") == 2
    assert [(r.status["state"], r.status["step"]) for r in busy] == [
        ("interrupted", last_step(r)) for r in busy
    ]

    code, out, err = command(*typed(*GRID))
    assert (code, err) == (0, "")
    assert out.startswith("train.py: sweep of 4 runs, ")
    assert any(", from step " in (run.path / "train.log").read_text() for run in runs)
    for run, name in zip(runs, names, strict=True):
        assert bits(run) == bits(undisturbed(*name, *LONG))


def test_stopped_before_the_workers_are_up(start, typed, left_of_group):
    """A signal that comes while the workers start must not be lost, or the whole sweep would run."""
    process = start(*typed(*GRID))
    assert process.process.stdout is not None
    assert process.process.stdout.readline() == "train.py: sweep of 4 runs, 0 finished before\n"
    os.kill(process.pid, signal.SIGTERM)
    began = time.monotonic()
    code, out, err = process.wait()
    assert (code, "Traceback" in err) == (143, False)
    assert time.monotonic() - began < 10
    assert "done at step" not in out
    assert left_of_group(process.pid) == []
