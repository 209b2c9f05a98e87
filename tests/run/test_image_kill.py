"""A run that streams JPEGs is killed within an epoch: it resumes bit-exactly, and no worker remains."""

import os
import signal

import numpy as np
import pytest
from PIL import Image

from tests.conftest import has_passed

CLASSES, TRAINING, VALIDATION = 3, 60, 6  # of each class


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    root = tmp_path_factory.mktemp("images")
    draws = np.random.default_rng(0)
    for split, count in (("train", TRAINING), ("val", VALIDATION)):
        for label in range(CLASSES):
            folder = root / split / f"class_{label}"
            folder.mkdir(parents=True)
            for i in range(count):
                pixels = draws.integers(0, 256, (40, 36 + i % 3, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{i:03d}.jpg", quality=90)
    return root


def overrides(tree, workers):
    return (
        "experiment=bn_x5", "scale=smoke", "data=cifar10", f"data.root={tree}", f"data.classes={CLASSES}",
        "data.feed=stream", f"data.workers={workers}", "model.width=0.01", "optim.batch=32", "steps=24",
        "steps_factor=1", "log_every=1", "checkpoint_every=7", "evaluate.at.early=[]", "evaluate.at.every=24",
        "evaluate.population_batches=2", "probe.at.early=[0]", "probe.at.every=12", "probe.examples=32",
    )  # fmt: skip


@pytest.mark.slow
def test_killed_in_the_middle_of_an_epoch(start, typed, planned, undisturbed, bits, tree, left_of_group):
    """180 training images are 5 mini-batches per epoch; killed after the checkpoints of steps 7 and 14."""
    run = planned(*overrides(tree, 2))
    arguments = typed(*overrides(tree, 2))
    for step in (7, 14):
        process = start(*arguments)
        process.until(lambda step=step: has_passed(run, step))
        os.kill(process.pid, signal.SIGKILL)  # the workers get no signal
        process.wait()
        assert left_of_group(process.pid) == []
        assert run.status["state"] == "running"
    code, out, err = start(*arguments).wait()
    assert code == 0, err
    assert " from step " in out.splitlines()[0]
    assert bits(run) == bits(undisturbed(*overrides(tree, 0)))
