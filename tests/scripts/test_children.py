"""When a command that starts trainings or measurements is killed, its child processes end too."""

import contextlib
import os
import signal
import subprocess
import sys
import time

import pytest

from bn.files import REPOSITORY

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="processes end with their parent only on Linux"),
]

# Each starts `python CHILD ...` instead of train.py or a benchmark.
STARTERS = {
    "reproduce": "from scripts import reproduce; reproduce.run(CHILD, [])",
    "gpu_trainings": (
        "import time; from scripts import gpu_trainings as g; "
        "g.run_until(time.monotonic() + 99, [g.Waiting([CHILD])], 1, {})"
    ),
    "gpu_measurements": (
        "from pathlib import Path; from scripts import gpu_measurements as g; "
        "g.MEASUREMENTS['one'] = g.Measurement(1, '', (), (CHILD,)); g.measure('one', 'cpu', Path(OUT))"
    ),
    "the benchmark of MNIST": (
        "from pathlib import Path; from benchmarks import mnist; "
        "mnist.REPOSITORY = Path(OUT); mnist.full_training_seconds('cpu')"
    ),
    "the benchmark of SLURM, alone": (
        "from benchmarks import slurm; slurm.train_command = COMMAND; slurm.train([])"
    ),
    "the benchmark of SLURM, a sweep": (
        "from pathlib import Path; from benchmarks import slurm; slurm.train_command = COMMAND; "
        "slurm.sweep(Path(OUT), 2, [])"
    ),
}
CHILD = """import os, pathlib, time
pathlib.Path(__file__).with_name("pid").write_text(str(os.getpid()))
print("1 submitted as job 1", flush=True)
time.sleep(60)
"""


def is_alive(pid):
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, 0)
        return True
    return False


@pytest.mark.parametrize("starter", STARTERS)
def test_children_of_a_killed_command_end(starter, tmp_path):
    child = tmp_path / "train.py"
    child.write_text(CHILD)
    code = f"import sys; CHILD, OUT = {str(child)!r}, {str(tmp_path)!r}; "
    code += f"COMMAND = lambda _: [sys.executable, CHILD]; {STARTERS[starter]}"
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=REPOSITORY, stdout=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    ) as parent:  # fmt: skip
        started = tmp_path / "pid"
        end = time.monotonic() + 60
        while not (started.exists() and started.read_text()):
            assert parent.poll() is None
            assert time.monotonic() < end
            time.sleep(0.05)
        pid = int(started.read_text())
        assert is_alive(pid)
        parent.kill()
    end = time.monotonic() + 10
    while is_alive(pid) and time.monotonic() < end:
        time.sleep(0.05)
    left = is_alive(pid)
    if left:
        os.kill(pid, signal.SIGKILL)
    assert not left
