"""A process is stopped by a signal or killed; the same command resumes the run bit-exactly."""

import json
import signal
from concurrent.futures import ThreadPoolExecutor

import pytest

from bn.run.checkpoint import list_checkpoints

# Leaves about a second after the first checkpoint in which to stop it.
LONG = ("steps=1200", "checkpoint_every=100", "evaluate.at.every=300")


def in_the_middle(run):
    """A condition: the current start has written a checkpoint."""
    there = set(list_checkpoints(run.checkpoints))
    return lambda: bool(set(list_checkpoints(run.checkpoints)) - there)


@pytest.mark.slow
def test_stopped_by_a_signal(start, cli, typed, planned, undisturbed, bits):
    """One of two concurrent processes receives SIGTERM, the other SIGINT."""
    cases = [
        (("experiment=mnist_baseline", *LONG), signal.SIGTERM, 143),
        (("experiment=mnist_bn", *LONG), signal.SIGINT, 130),
    ]
    runs = [planned(*arguments) for arguments, _, _ in cases]

    def stopped(run, case):
        arguments, number, _ = case
        process = start(*typed(*arguments))
        process.until(in_the_middle(run))
        process.process.send_signal(number)
        return process.wait()

    with ThreadPoolExecutor() as pool:
        results = list(pool.map(stopped, runs, cases))
    for run, (arguments, number, expected), (code, out, err) in zip(runs, cases, results, strict=True):
        assert (code, err) == (expected, "")
        assert ": the same command resumes it" in out
        status = run.status
        assert (status["state"], status["reason"]) == ("interrupted", number.name)
        assert 100 <= status["step"] < 1200
        assert list_checkpoints(run.checkpoints)[-1].name.startswith(f"step_{status['step']:08d}")
        assert not run.finished

        code, out, err = cli(*typed(*arguments))
        assert (code, err) == (0, "")
        assert f"from step {status['step']:,} of 1,200" in out
        assert bits(run) == bits(undisturbed(*arguments))


@pytest.mark.slow
def test_killed_several_times(start, cli, typed, planned, undisturbed, bits):
    arguments = ("experiment=mnist_bn", *LONG)
    run = planned(*arguments)
    for kill in range(2):
        process = start(*typed(*arguments))
        process.until(in_the_middle(run))
        process.process.kill()
        assert process.wait()[0] == -signal.SIGKILL
        assert run.status["state"] == "running"
        assert kill == len(json.loads((run.path / "env.json").read_text())["resumed"])
    code, out, err = cli(*typed(*arguments))
    assert (code, err) == (0, "")
    assert " from step " in out
    assert bits(run) == bits(undisturbed(*arguments))


@pytest.mark.slow
def test_stopped_before_the_first_step_is_stopped_after_it(start, typed, planned):
    """There is nothing to save while torch is imported, but the signal is not lost."""
    run = planned("experiment=mnist_bn", *LONG)
    command = start(*typed("experiment=mnist_bn", *LONG))
    command.until((run.path / "config.yaml").exists)
    command.process.send_signal(signal.SIGTERM)
    assert command.wait()[0] == 143
    assert (run.status["state"], run.status["step"]) == ("interrupted", 1)
