"""Trainings on a GPU for minutes: the next call continues from the packed files."""

import json
import runpy
import subprocess
import sys
import time

import pytest

from bn.files import REPOSITORY

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


def test_records_and_required_checkpoints_are_packed(script, tmp_path):
    runs, out, there = tmp_path / "here" / "runs", tmp_path / "out", tmp_path / "there"
    mib = 1 << 20
    made_run(runs, "bn_x5", "done", 50, mib)
    evaluated = made_run(runs, "bn_x30", "done", 50, 9 * mib)
    made_run(runs, "inception", "interrupted", 40, 9 * mib)
    made_run(runs, "inception_x5", "interrupted", 10, 9 * mib)  # exceeds the limit
    script["pack"](runs, out, 20, [Run(evaluated)])
    assert sorted(path.name for path in out.iterdir()) == [
        "checkpoints_0.tar", "checkpoints_1.tar", "records_0.tgz",
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


PROGRAM = """import signal, sys, time, pathlib
signal.signal(signal.SIGINT, lambda *_: sys.exit(pathlib.Path(sys.argv[1]).write_text("told")))
time.sleep(float(sys.argv[2]))
pathlib.Path(sys.argv[1]).write_text("ended")
"""


class Run:
    """A stand-in for a run directory in `needs`."""

    def __init__(self, path):
        self.path = path

    @property
    def status(self):
        return {"state": "done"} if self.path.exists() else {}


@pytest.mark.slow
def test_commands_run_in_parallel_and_stop_in_time(script, tmp_path):
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)

    def waiting(name, seconds, *needs):
        needed = tuple(Run(tmp_path / need) for need in needs)
        return script["Waiting"]([str(program), str(tmp_path / name), str(seconds)], needed)

    began = time.monotonic()
    commands = [waiting("a", 0), waiting("needs_a", 0, "a"), waiting("b", 60), waiting("needs_b", 0, "b")]
    script["run_until"](began + 6, iter(commands), 2, {})
    assert time.monotonic() - began < 25
    assert {path.name: path.read_text() for path in tmp_path.glob("*[ab]")} == {
        "a": "ended", "needs_a": "ended", "b": "told",
    }  # fmt: skip


@pytest.mark.slow
def test_each_run_is_queued_once_in_the_order_of_the_sweeps(script):
    sweeps = [
        "ensemble member=1,2",
        "figure2 experiment=bn_x30",
        "figure4",
        "figure2 experiment=bn_x5,bn_x30",
    ]
    found = list(script["waiting_commands"](sweeps, "cifar10"))
    assert [len(one.needs) for one in found] == [0, 0, 0, 0, 0, 3, 3, 6, 6, 0, 0, 0]
    assert [
        next(word for word in one.command if word.startswith(("experiment=", "crops="))) for one in found
    ] == [
        *["experiment=ensemble"] * 2, *["experiment=bn_x30"] * 3,
        "crops=1", "crops=144", "crops=1", "crops=144", *["experiment=bn_x5"] * 3,
    ]  # fmt: skip


@pytest.mark.slow
def test_help_explains_how_to_continue():
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--help"], capture_output=True, text=True, cwd=REPOSITORY
    )
    assert done.returncode == 0
    assert "--take" in done.stdout
