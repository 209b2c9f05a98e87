"""One process at a time in a run directory, whatever happens to the file `lock`."""

import os
import shutil

import pytest

from bn.run.directory import RunDirectory
from bn.run.lock import InUse

RUN = "experiment=mnist_bn"


def removed(path):
    path.unlink()


def replaced(path):
    path.unlink()
    path.write_text("process 1 on elsewhere\n")


def exchanged(path):
    path.with_name("other").write_text("")
    path.with_name("other").replace(path)


def copied(path):
    shutil.copy(path, path.with_name("copy"))
    path.with_name("copy").replace(path)


@pytest.mark.parametrize("change", [removed, replaced, exchanged, copied, lambda path: None])
def test_a_second_process_is_refused(planned, change):
    run = planned(RUN)
    run.open()
    change(run.path / "lock")
    second = RunDirectory(run.path, run.config)
    for _ in range(3):
        with pytest.raises(InUse, match="in use by"):
            second.open()
    run.close()
    second.open()
    second.close()


def test_a_lock_removed_between_its_opening_and_its_locking(planned, monkeypatch):
    """The lock would be on a file that no other process opens."""
    import fcntl

    run = planned(RUN)
    run.path.mkdir(parents=True)
    flock, removals = fcntl.flock, iter((True, True, False))

    def removing(file, operation):
        flock(file, operation)
        if not isinstance(file, int) and next(removals, False):
            (run.path / "lock").unlink()

    monkeypatch.setattr(fcntl, "flock", removing)
    run.open()
    assert run._lock is not None
    assert run._lock._file is not None
    assert os.path.samestat(os.fstat(run._lock._file.fileno()), (run.path / "lock").stat())
    run.close()


def test_a_file_system_that_cannot_lock_directories(planned, monkeypatch):
    import fcntl

    flock = fcntl.flock

    def files_alone(file, operation):
        if isinstance(file, int):
            raise OSError(9, "Bad file descriptor")
        flock(file, operation)

    monkeypatch.setattr(fcntl, "flock", files_alone)
    run = planned(RUN)
    run.open()
    with pytest.raises(InUse, match=f"in use by process {os.getpid()} on "):
        RunDirectory(run.path, run.config).open()
    run.close()
