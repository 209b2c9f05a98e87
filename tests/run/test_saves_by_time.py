"""Checkpoints are also written by time, so that killing a slow run loses only minutes."""

import time
from types import SimpleNamespace

import pytest

from bn import train as loop
from bn.run.checkpoint import list_checkpoints


class Clock:
    """A clock that advances half a minute per step; the loop reads it once per step."""

    def __init__(self):
        self.seconds = 0.0

    def __call__(self):
        self.seconds += 30
        return self.seconds


@pytest.fixture
def saved_steps(trained, monkeypatch):
    def run(*overrides):
        steps = []
        real = loop.save_checkpoint

        def save(folder, step, state):
            steps.append(step)
            return real(folder, step, state)

        monkeypatch.setattr(loop, "save_checkpoint", save)
        monkeypatch.setattr(loop, "time", SimpleNamespace(**vars(time) | {"monotonic": Clock()}))
        run = trained("experiment=mnist_bn", "steps=20", *overrides)
        assert len(list_checkpoints(run.checkpoints)) == 2
        return run, steps

    return run


def test_no_later_than_the_minutes_after_the_last(saved_steps, undisturbed, bits):
    """Two and a half minutes are five steps here, and a save reads the clock too; the bits stay the same."""
    run, steps = saved_steps("checkpoint_every=7", "checkpoint_minutes=2")
    assert steps == [5, 7, 12, 14, 19, 20]
    assert bits(run) == bits(undisturbed("experiment=mnist_bn", "steps=20", "checkpoint_every=7"))
