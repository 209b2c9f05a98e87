"""The number of worker processes."""

from collections import namedtuple

import pytest

from bn.data import workers
from bn.data.workers import worker_count
from bn.errors import UserError


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """Simulate a machine with these cores and bytes of shared memory (None: without /dev/shm, like macOS)."""

    def of(cores, free=1 << 40, local_processes=None):
        monkeypatch.setattr(workers, "SHARED", tmp_path / "none" if free is None else tmp_path)
        usage = namedtuple("usage", "free")(free)
        monkeypatch.setattr(workers.shutil, "disk_usage", lambda _: usage)
        monkeypatch.setattr(workers.os, "sched_getaffinity", lambda _: set(range(cores)), raising=False)
        monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
        if local_processes:
            monkeypatch.setenv("LOCAL_WORLD_SIZE", str(local_processes))

    return of


@pytest.mark.parametrize(
    ("cores", "processes", "count"), [(16, None, 15), (2, None, 1), (1, None, 1), (64, 8, 7), (4, 8, 1)]
)
def test_the_default_is_the_number_of_cores_minus_one(machine, cores, processes, count):
    machine(cores, local_processes=processes)
    assert worker_count(None, 100) == count


@pytest.mark.parametrize("wanted", [0, 1, 40])
def test_a_given_number_is_used(machine, wanted):
    machine(2)
    assert worker_count(wanted, 100) == wanted
    machine(2, free=None)
    assert worker_count(wanted, 100) == wanted


def test_with_little_shared_memory_there_are_fewer_and_a_message(machine, capfd):
    machine(16, free=64 << 20)
    assert worker_count(None, 20 << 20) == 3
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("data.workers: 3 instead of 15: ")
    assert line.endswith("(64 MiB free) holds the mini-batches of at most 3")


def test_too_little_shared_memory_for_a_given_number_is_refused(machine):
    machine(16, free=64 << 20)
    with pytest.raises(UserError, match=r"^data.workers=8: .*; accepted: at most 3, or null$"):
        worker_count(8, 20 << 20)
