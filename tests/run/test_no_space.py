"""A full disk ends a run with one line and exit code 1; it resumes from the last good checkpoint."""

import errno
import os
import re
import subprocess
from pathlib import Path

import pytest

from bn.run.checkpoint import list_checkpoints, load_checkpoint
from bn.run.directory import RunDirectory
from tests.conftest import slowly

RUN = "experiment=mnist_bn"
FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def refused(result, run):
    """Check the end that all these runs have."""
    code, _, err = result
    assert (code, err.count("\n")) == (1, 1), err
    assert re.search("no space left on (the )?device", err, re.IGNORECASE)
    assert not list(run.path.rglob("*.part*"))
    for path in list_checkpoints(run.checkpoints):
        load_checkpoint(path)


# At steps 40, 80 and 120 the observations, the metrics and then the checkpoint are synced.
@pytest.mark.parametrize(
    ("file", "call", "left"),
    [
        ("metrics.jsonl", 1, []), ("step_", 3, [40, 80]),
        *slowly(
            ("activations.npz", 1, []), ("activations.npz", 3, [40, 80]), ("metrics.jsonl", 3, [40, 80]),
            ("step_", 1, []),
        ),
    ],
)  # fmt: skip
def test_a_save_that_cannot_be_synced(cli, typed, planned, undisturbed, bits, monkeypatch, file, call, left):
    calls = []

    def saving(name):  # but not at the start
        return name == "metrics.jsonl" or not name.startswith("metrics.jsonl")

    def fsync(descriptor):
        name = Path(os.readlink(f"/proc/self/fd/{descriptor}")).name
        if name.startswith(file) and saving(name):
            calls.append(descriptor)
            if len(calls) == call:
                raise FULL

    run = planned(RUN)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fsync)
        refused(cli(*typed(RUN)), run)
    assert len(calls) == call
    assert run.status["state"] == "failed"
    assert run.status["reason"].startswith("no space left on the device")
    steps = [load_checkpoint(path)["step"] for path in list_checkpoints(run.checkpoints)]
    assert steps == left
    assert cli(*typed(RUN))[0] == 0
    assert bits(run) == bits(undisturbed(RUN))


def test_a_line_of_metrics_that_cannot_be_written(cli, typed, planned, undisturbed, bits, monkeypatch):
    write = RunDirectory.log

    def log(self, record):
        if record["step"] == 60:
            assert self._metrics is not None
            os.dup2(os.open("/dev/full", os.O_WRONLY), self._metrics.fileno())
        write(self, record)

    run = planned(RUN)
    with monkeypatch.context() as patch:
        patch.setattr(RunDirectory, "log", log)
        refused(cli(*typed(RUN)), run)
    assert run.status["state"] == "failed"
    assert [load_checkpoint(path)["step"] for path in list_checkpoints(run.checkpoints)] == [40]
    assert cli(*typed(RUN))[0] == 0
    assert bits(run) == bits(undisturbed(RUN))


@pytest.fixture
def small(tmp_path):
    """A file system of 4 MiB, and a function that leaves a given number of KiB free."""
    mount = tmp_path / "small"
    mount.mkdir()
    try:
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", mount],
            capture_output=True,
            text=True,
            check=False,
        )
    except OSError as error:
        pytest.skip(f"no mount: {error}")
    if done.returncode:
        pytest.skip(f"mounting a small file system needs root: {done.stderr.strip()}")

    def leave(kib):
        (mount / "filler").unlink(missing_ok=True)
        free = os.statvfs(mount).f_bavail * os.statvfs(mount).f_frsize
        (mount / "filler").write_bytes(b"\0" * max(0, free - kib * 1024))

    yield mount, leave
    subprocess.run(["umount", "--lazy", mount], check=True)


@pytest.mark.parametrize(
    ("kib", "saved"), [(0, []), (1100, [40, 80]), *slowly((8, []), (300, []), (700, [40]))]
)
def test_a_small_file_system(small, cli, typed, planned, undisturbed, bits, kib, saved):
    mount, leave = small
    leave(kib)
    run = planned(RUN, output=mount)
    refused(cli(*typed(RUN, output=mount)), run)
    assert [load_checkpoint(path)["step"] for path in list_checkpoints(run.checkpoints)] == saved
    (mount / "filler").unlink()
    code, out, err = cli(*typed(RUN, output=mount))
    assert (code, err) == (0, "")
    assert (f"from step {saved[-1]} of 120" if saved else "for 120 steps") in out
    assert bits(run) == bits(undisturbed(RUN))


@pytest.mark.slow
def test_the_disk_fills_up_while_a_process_trains(small, start, cli, typed, planned, undisturbed, bits):
    mount, leave = small
    arguments = (RUN, "steps=1200", "checkpoint_every=100", "evaluate.at.every=300")
    run = planned(*arguments, output=mount)
    process = start(*typed(*arguments, output=mount))
    process.until(lambda: len(list_checkpoints(run.checkpoints)) == 2)
    leave(100)
    refused(process.wait(), run)
    assert run.status["state"] == "failed"
    kept = [load_checkpoint(path)["step"] for path in list_checkpoints(run.checkpoints)]
    assert len(kept) == 2
    (mount / "filler").unlink()
    code, out, err = cli(*typed(*arguments, output=mount))
    assert (code, err) == (0, "")
    assert f"from step {kept[-1]:,} of" in out
    assert bits(run) == bits(undisturbed(*arguments))
