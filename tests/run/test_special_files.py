"""Pipes, devices, folders and the like in place of a record give one line, and nothing blocks."""

import os
import shutil
import signal
import socket

import pytest

from bn.errors import UserError
from bn.evaluate.trained import load_trained
from bn.run.checkpoint import list_checkpoints
from bn.run.directory import RunDirectory
from bn.run.state import find_runs, state_of
from bn.train import train
from tests.conftest import slowly

RUN = "experiment=mnist_bn"
RECORDS = ("metrics.jsonl", "activations.npz", "config.yaml", "env.json", "status.json", "a checkpoint")


def listening(path):
    with socket.socket(socket.AF_UNIX) as one:
        here = os.getcwd()
        os.chdir(path.parent)  # the path of a socket must be short
        one.bind(path.name)
        os.chdir(here)


KINDS = {
    "a pipe": os.mkfifo,
    "a folder": os.mkdir,
    "a socket": listening,
    "a device without end": lambda path: path.symlink_to("/dev/zero"),
    "a terminal": lambda path: path.symlink_to("/dev/tty"),
    "a link to itself": lambda path: path.symlink_to(path.name),
    "a link to nothing": lambda path: path.symlink_to("nothing"),
}


@pytest.fixture(autouse=True)
def _soon():
    """Fail a test that blocks for ten seconds."""

    def stop(*_):
        raise TimeoutError("it waits")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(10)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
def stopped(undisturbed, tmp_path):
    """A run whose last checkpoint is of step 80 of 120."""
    ended = undisturbed(RUN)
    shutil.copytree(ended.path, tmp_path / "seed_0")
    run = RunDirectory(tmp_path / "seed_0", ended.config)
    list_checkpoints(run.checkpoints)[-1].unlink()
    run.set_status("running", 80)
    return run


@pytest.mark.parametrize("kind", ["a pipe", *slowly(*(kind for kind in KINDS if kind != "a pipe"))])
@pytest.mark.parametrize("record", RECORDS)
def test_one_line_or_counts_as_missing(stopped, record, kind):
    path = stopped.path / record if "." in record else list_checkpoints(stopped.checkpoints)[-1]
    path.unlink()
    KINDS[kind](path)
    lines = []
    for use in (_resume, lambda run: state_of(run.path), lambda run: find_runs(run.path), _evaluate):
        try:
            use(stopped)
        except (UserError, OSError) as error:
            lines.append(str(error))
    assert all(line.isprintable() for line in lines)


def _resume(run):
    run.check_config()
    run.open()
    try:
        train(run.config, run, progress=False)
    finally:
        run.close()


def _evaluate(run):
    load_trained(run.path)
