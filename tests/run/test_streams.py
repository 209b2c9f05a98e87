"""Standard output that is closed, full, without a reader, or in an encoding that lacks characters."""

import os
import subprocess
import sys

import pytest

from bn.files import REPOSITORY
from bn.run.directory import read_lines
from bn.run.streams import LastingStream

RUN = (
    *("experiment=mnist_bn", "steps=2", "log_every=1", "observe=[]", "evaluate.at.early=[]"),
    *("evaluate.population_batches=1", "device=cpu"),
)


def command(program, *arguments, shell="", **settings):
    """Run a program with the redirections of `shell`."""
    words = [sys.executable, str(REPOSITORY / program), *arguments]
    return subprocess.run(["sh", "-c", f'"$@" {shell}', "sh", *words], text=True, timeout=100, **settings)


def test_a_stream_outlasts_its_reader():
    reader, writer = os.pipe()
    with open(writer, "w") as pipe, LastingStream(pipe) as stream:
        os.close(reader)
        for _ in range(2):
            stream.write("text\n")
            stream.flush()


@pytest.mark.parametrize(
    "shell",
    [
        ">/dev/full 2>&1",
        *(pytest.param(other, marks=pytest.mark.slow) for other in (">&-", "<&- >&- 2>&-", "2>&1 | true")),
    ],
)
def test_a_run_outlasts_its_output(tmp_path, shell):
    done = command("train.py", *RUN, f"output={tmp_path}", shell=shell)
    assert done.returncode == 0
    (metrics,) = tmp_path.glob("*/*/*/metrics.jsonl")
    assert [row["step"] for row in read_lines(metrics)] == [1, 2]
    (log,) = tmp_path.glob("*/*/*/train.log")
    assert "done at step 2" in log.read_text()


@pytest.mark.slow
def test_a_path_that_the_encoding_lacks(tmp_path):
    output = tmp_path / "données"
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = command("train.py", *RUN, f"output='{output}'", env=environment, capture_output=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert r"donn\xe9es" in done.stdout
    (run,) = output.glob("*/*/*")
    shown = command("scripts/runs.py", "show", str(run), env=environment, capture_output=True)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert r"donn\xe9es" in shown.stdout


@pytest.mark.slow
def test_a_sweep_outlasts_its_output(tmp_path):
    done = command("train.py", "-m", *RUN, "seed=0,1", f"output={tmp_path}", shell=">&-")
    assert done.returncode == 0
    assert len(list(tmp_path.glob("*/*/*/metrics.jsonl"))) == 2


@pytest.mark.parametrize(
    ("shell", "line"),
    [
        (">/dev/full", "runs.py: no space left on the device: free some space, then repeat the command\n"),
        (">&-", ""),
        ("| true", ""),
    ],
)
def test_a_listing_that_cannot_be_printed(tmp_path, shell, line):
    (tmp_path / "runs").mkdir()
    done = command("scripts/runs.py", str(tmp_path), shell=shell, stderr=subprocess.PIPE)
    assert (done.returncode, done.stderr) == (bool(line), line)
