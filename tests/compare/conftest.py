"""Fixtures that run scripts/runs.py in this process, and run directories for it."""

import pytest

from bn.files import REPOSITORY
from bn.run.heartbeat import introduction
from tests.compare.fake_runs import ELSEWHERE, config_text, curve, line, make_run, stat

SCRIPT = str(REPOSITORY / "scripts" / "runs.py")


@pytest.fixture
def runs_py(in_process):
    """`runs.py` with the given arguments: exit code, stdout, stderr."""
    return lambda *arguments: in_process("scripts/runs.py", *arguments)


@pytest.fixture
def listed(runs_py):
    """Runs `runs.py` with the given arguments and returns its output lines."""

    def run(*arguments):
        code, out, _ = runs_py(*arguments)
        assert code == 0
        return out.splitlines()

    return run


@pytest.fixture
def refused(runs_py):
    """Returns the message with which `runs.py` refuses the given arguments."""

    def run(*arguments):
        code, out, err = runs_py(*arguments)
        assert code in (1, 2)  # 2 of argparse
        assert (out, err.count("\n")) == ("", 1)
        return err.rstrip("\n")

    return run


@pytest.fixture
def make(tmp_path):
    """Calls `make_run` for a name below tmp_path/runs."""
    return lambda name, **contents: make_run(tmp_path / "runs" / name, **contents)


@pytest.fixture
def sweep(make):
    """A run in each state."""
    make("mnist_bn/a/seed_10", status=stat("done", 400), metrics=line(400, test_accuracy=0.975), lock="")
    make("mnist_bn/a/seed_2", status=stat("done", 400), metrics=line(400, test_accuracy=0.97), lock="")
    make("bn_x5/wild/seed_0", status=stat("diverged", 9, "loss is nan"), lock="")
    make("mnist_bn/a/seed_3", submitted={"job": "1_3", "config": {"steps": 1000}})
    make("mnist_bn/a/seed_4", status=stat("running", 200), metrics=line(300), lock=introduction())
    make("bn_x5/a/seed_5", status=stat("interrupted", 100, "SIGTERM", job="1_5"), lock="")
    make("bn_x5/a/seed_6", status=stat("running", 150), lock=ELSEWHERE, hours_ago=80)
    make("bn_x5/a/seed_7", status=stat("failed", 20, "OSError: no image"), lock="")


CURVES = {  # accuracies at steps 100, 200, 300, 400 of two seeds
    ("mnist_baseline", 0.1): ([0.1, 0.2, 0.5, 0.7], [0.1, 0.3, 0.6, 0.8]),
    ("mnist_bn", 0.1): ([0.5, 0.7, 0.8, 0.85], [0.6, 0.8, 0.9, 0.87]),
    ("mnist_bn", 1.0): ([0.7, 0.8, 0.9, 0.95], [0.7, 0.9, 0.95, 0.97]),
}


@pytest.fixture
def grid(make, tmp_path):
    """A folder with two finished runs of each setting of CURVES."""
    for (experiment, lr), curves in CURVES.items():
        for seed, values in enumerate(curves):
            make(
                f"{experiment}/optim.lr-{lr}/seed_{seed}", status=stat("done", 400), metrics=curve(values),
                lock="", config=config_text(experiment, seed, lr=lr),
            )  # fmt: skip
    return tmp_path / "runs"
