"""Trainings on a GPU for minutes: what comes back is what the next call goes on from."""

import json
import runpy
import subprocess
import sys
import time

import pytest

from bn.run.directory import REPOSITORY

SCRIPT = REPOSITORY / "scripts" / "gpu_trainings.py"


@pytest.fixture
def script():
    return runpy.run_path(str(SCRIPT))


def made_run(runs, name, state, step, size):
    run = runs / name / "scale-cifar10" / "seed_0"
    (run / "checkpoints").mkdir(parents=True)
    (run / "config.yaml").write_text(f"experiment: {name}\n")
    (run / "metrics.jsonl").write_text('{"step": 1}\n')
    (run / "status.json").write_text(json.dumps({"state": state, "step": step}))
    for n, digit in ((step - 1, "a"), (step, "b")):
        (run / "checkpoints" / f"step_{n:08d}.{digit * 16}.pt").write_bytes(bytes(size))
    return run


def test_records_and_the_checkpoints_that_are_needed_come_back(script, tmp_path):
    runs, out, there = tmp_path / "here" / "runs", tmp_path / "out", tmp_path / "there"
    mib = 1 << 20
    made_run(runs, "bn_x5", "done", 50, mib)
    made_run(runs, "bn_x30", "done", 50, 9 * mib)  # evaluated later
    made_run(runs, "inception", "interrupted", 40, 9 * mib)
    made_run(runs, "inception_x5", "interrupted", 10, 9 * mib)  # beyond what may be packed
    script["pack"](runs, out, 20)
    assert sorted(path.name for path in out.iterdir()) == [
        "checkpoints_0.tar", "checkpoints_1.tar", "records.tgz",
    ]  # fmt: skip
    assert all(path.stat().st_size < 16 * mib for path in out.iterdir())
    there.mkdir()
    assert script["unpack"](out, there) == 4 * 3 + 2
    assert sorted(str(path.relative_to(there)) for path in there.rglob("*.pt")) == [
        f"runs/bn_x30/scale-cifar10/seed_0/checkpoints/step_00000050.{'b' * 16}.pt",
        f"runs/inception/scale-cifar10/seed_0/checkpoints/step_00000040.{'b' * 16}.pt",
    ]
    for path in runs.rglob("*.json*"):
        assert (there / path.relative_to(runs.parent)).read_bytes() == path.read_bytes()


def test_a_command_is_told_to_stop_in_time(script):
    program = "import signal, sys, time\nsignal.signal(signal.SIGINT, lambda *_: sys.exit(7))\ntime.sleep(60)"
    began = time.monotonic()
    script["run_until"](began + 3, [sys.executable, "-c", program], {})
    assert 2 < time.monotonic() - began < 20


def test_help_says_how_to_go_on():
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--help"], capture_output=True, text=True, cwd=REPOSITORY
    )
    assert done.returncode == 0
    assert "--take" in done.stdout
