"""Each contender of the benchmarks does the work that it is timed for."""

import math

import pytest
import torch

from benchmarks import inception, mnist
from bn.cli import planned_run
from bn.data.mnist import Examples, Mnist

CPU = torch.device("cpu")
SMALL = inception.Setting(CPU, batch=32, size=32, width=0.05)
TRAININGS = {(one.name, one.precision): one for one in inception.trainings(SMALL, compiled=False)}
INFERENCES = {(one.name, one.precision): one for one in inception.inferences(SMALL, compiled=False)}


@pytest.fixture(scope="module")
def configs():
    return [planned_run([f"experiment={name}"]).config for name in mnist.NETWORKS]


@pytest.fixture(scope="module")
def examples():
    images = torch.randint(2, (600, 784), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    return Examples(images, torch.arange(600) % 10)


@pytest.fixture(scope="module")
def steps(configs, examples):
    """One step without and one with BN, for each contender of benchmarks/mnist.py."""
    return mnist.contenders(configs, examples, CPU, compiled=False)


def test_the_contenders_of_the_small_step(steps):
    assert list(steps) == [
        "floor: its matrix products alone", "loop with a DataLoader", "plain eager loop, data resident",
        "ours, readable path (autograd)", "ours",
    ]  # fmt: skip


@pytest.mark.parametrize("with_bn", [False, True], ids=["without BN", "with BN"])
def test_each_contender_makes_the_small_step(steps, with_bn):
    floor, *others = [[pair[with_bn]() for _ in range(3)] for pair in steps.values()]
    assert floor == [None] * 3
    losses = torch.stack([torch.tensor([torch.as_tensor(one).detach() for one in found]) for found in others])
    assert (losses[:, 0] - math.log(10)).abs().max() < 0.5  # ten classes that it does not know
    assert (losses.diff() != 0).all()
    *_, readable, fused = losses
    torch.testing.assert_close(fused, readable)


def test_each_kind_of_record_is_timed(configs, examples):
    found = mnist.record_seconds(configs[1], Mnist(examples, None, examples), CPU)
    assert list(found) == ["evaluation", "percentiles", "Algorithm 2", "logging", "checkpoints"]
    assert min(found.values()) > 0


@pytest.mark.parametrize("contender", TRAININGS.values(), ids=map(" ".join, TRAININGS))
def test_each_contender_trains_inception(contender):
    step = contender.make()
    first, *_, last = [float(step()) for _ in range(4)]
    assert first == pytest.approx(math.log(1000), abs=0.1)
    assert last < first  # the same mini-batch each time


@pytest.mark.parametrize("contender", INFERENCES.values(), ids=map(" ".join, INFERENCES))
def test_each_contender_classifies(contender):
    logits = contender.make()()
    assert logits.shape == (32, 1000)
    assert logits.isfinite().all()
    assert not logits.requires_grad


def test_inception_is_measured_in_turns():
    two = list(INFERENCES.values())[:2]
    found = inception.measured("inference", two, SMALL, rounds=1)
    assert [(row["name"], row["precision"]) for row in found] == [(one.name, one.precision) for one in two]
    assert all(row["images_per_second"] > 0 for row in found)
