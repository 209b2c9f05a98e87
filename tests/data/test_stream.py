"""The loader with workers: exact for any number of workers and any first step; workers ignore signals."""

import contextlib
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from bn.errors import UserError
from bn.files import REPOSITORY


@pytest.fixture
def smoke(opened):
    """A streaming loader of images in memory."""

    def make(**changes):
        return opened(name="smoke", classes=10, feed="stream", distortion="googlenet", batch=50, **changes)

    return make


def bits(batch):
    return batch.images.numpy().tobytes(), batch.labels.tolist()


def test_results_do_not_depend_on_the_number_of_workers(smoke):
    alone, helped = smoke(workers=0), smoke(workers=2)
    for n in range(45):  # into the second epoch
        assert bits(alone.batch(n)) == bits(helped.batch(n))
    for a, b in zip(alone.validation(), helped.validation(), strict=True):
        assert bits(a) == bits(b)


def test_files_are_read_equally_with_and_without_workers(make_tree, opened):
    root = make_tree(size=lambda i: (40 + i, 90 - i), kind="jpeg")
    alone, helped = (opened(root, feed="stream", workers=workers, steps=6) for workers in (0, 1))
    assert [bits(alone.batch(n)) for n in range(8)] == [
        bits(helped.batch(n)) for n in range(8)
    ]  # 2 more than announced


def test_a_start_in_the_middle_of_an_epoch_gives_the_same_mini_batches(smoke):
    images = smoke(workers=0)
    whole = [bits(images.batch(n)) for n in range(60)]
    assert len(set(map(str, whole))) == 60
    later = smoke(workers=0, first=47)
    assert [bits(later.batch(n)) for n in range(47, 60)] == whole[47:]


def test_any_step_can_be_requested(smoke):
    images = smoke(workers=0)
    expected = [bits(smoke(workers=0, first=n).batch(n)) for n in (7, 3, 1000)]
    assert [bits(images.batch(n)) for n in (7, 3, 1000)] == expected


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("feed", ["resident", "stream"])
def test_torchs_global_generator_is_not_used(opened, workers, feed):
    """A resumed run restores its state, but starts workers more often than an uninterrupted one."""
    torch.manual_seed(7)
    before = torch.get_rng_state()
    images = opened(name="smoke", classes=10, feed=feed, workers=workers, distortion="googlenet")
    images.batch(0)
    next(images.validation())
    next(images.training_examples(4))
    assert torch.equal(torch.get_rng_state(), before)


def test_both_loaders_crop_the_same_boxes(opened):
    """Up to rounding to whole levels of 255."""
    loaders = [opened(name="smoke", classes=10, feed=feed, batch=50) for feed in ("resident", "stream")]
    for n in range(5):
        a, b = (images.batch(n) for images in loaders)
        assert torch.equal(a.labels, b.labels)
        assert (a.images - b.images).abs().max() * 58 < 1.02
    for a, b in zip(*(images.validation() for images in loaders), strict=True):
        assert torch.allclose(a.images, b.images, atol=1e-4)


def test_the_loader_can_be_pickled(make_tree, opened):
    """Where processes cannot be forked, the workers' state is pickled."""
    images = opened(make_tree(), feed="stream")
    steps = images._source._steps
    assert torch.equal(pickle.loads(pickle.dumps(steps))(3).images, steps(3).images)


def test_workers_ignore_signals_and_end_on_close(smoke):
    images = smoke(workers=1)
    images.batch(0)
    (worker,) = multiprocessing.active_children()
    assert worker.pid is not None
    for number in (signal.SIGINT, signal.SIGTERM):
        os.kill(worker.pid, number)
    for n in range(1, 10):  # more than were prefetched
        images.batch(n)
    assert worker.is_alive()
    images.close()
    assert multiprocessing.active_children() == []


@pytest.mark.slow
def test_a_killed_worker_is_one_line_at_the_next_mini_batch(smoke, one_line):
    """It is not an exception raised at any point of the program."""
    images = smoke(workers=1)
    images.batch(0)
    (worker,) = multiprocessing.active_children()
    assert worker.pid is not None
    os.kill(worker.pid, signal.SIGKILL)
    worker.join()
    time.sleep(0.1)
    with pytest.raises(UserError) as error:
        list(map(images.batch, range(1, 10)))  # more than were prefetched
    assert one_line(error).startswith("a worker process was killed (out of memory")


PROGRAM = """
import multiprocessing, os, signal, sys, torch
from bn.config import ImageData
from bn.data.images import Plan, open_loader
data = ImageData(
    name="smoke", root="", classes=10, resize=32, crop=28, area=0.08, aspect=4 / 3, distortion="none",
    shuffle="complete", shard_size=100, feed="stream", workers=1,
)
images = open_loader(data, Plan(steps=1000, batch=50, seed=0), torch.device("cpu"))
images.batch(0)
validation = images.validation()
next(validation)
print(*(child.pid for child in multiprocessing.active_children()), flush=True)
{end}
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.parametrize(
    ("end", "code"),
    [("os.kill(os.getpid(), signal.SIGKILL)", -9), ("sys.exit(3)", 3), ("raise ValueError", 1)],
    ids=["killed", "exit", "exception"],
)
def test_workers_neither_outlive_the_program_nor_delay_its_exit(end, code):
    """Neither the training loader nor an unfinished validation is closed."""
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM.format(end=end)], cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": "."}, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    ) as program:  # fmt: skip
        assert program.stdout is not None
        workers = program.stdout.readline().split()  # reading to the end would wait for the workers too
        assert program.wait(timeout=60) == code
        assert len(workers) == 2
        deadline = time.monotonic() + 1.5  # torch alone would take 5 seconds
        while left := [pid for pid in workers if lives(pid)]:
            assert time.monotonic() < deadline, left
            time.sleep(0.02)


def lives(pid):
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    return False
