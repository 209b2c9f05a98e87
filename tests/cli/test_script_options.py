"""A wrong option of a script gives one line instead of a usage page."""

import os
import re
import subprocess
import sys

import pytest

from bn.files import REPOSITORY

SCRIPTS = ("make_figures", "prepare_imagenet", "prepare_tiny_imagenet", "reproduce", "runs")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("script", "option"),
    [("runs", "-z"), ("runs", "--help=3"), *((script, "--no-such") for script in SCRIPTS)],
)
def test_one_line(script, option, tmp_path):
    done = subprocess.run(
        [sys.executable, REPOSITORY / "scripts" / f"{script}.py", option], cwd=tmp_path, capture_output=True,
        text=True, env={**os.environ, "PYTHONPATH": str(REPOSITORY)}, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    assert re.match(rf"{script}\.py( list)?: ", done.stderr)  # runs.py without a subcommand lists
    assert done.stderr.endswith("; --help shows what is accepted\n")
    assert done.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())
