"""`python evaluate.py`: help, one line of results, and one line per mistake."""

import os
import re
import subprocess
import sys
from dataclasses import fields

import pytest
import yaml

from bn.config import ImageData
from bn.files import REPOSITORY


@pytest.fixture
def command(tmp_path):
    """Run `python evaluate.py` outside the repository: exit code, stdout, stderr."""

    def run(*arguments, python_options=()):
        done = subprocess.run(
            [sys.executable, *python_options, str(REPOSITORY / "evaluate.py"), *arguments],
            cwd=tmp_path, capture_output=True, text=True, timeout=120,
            env={**os.environ, "PYTHONWARNINGS": "default"}, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        return done.returncode, done.stdout, done.stderr

    return run


def test_an_evaluation(command, checkpoint, on_tree, tmp_path):
    path = checkpoint().relative_to(tmp_path)  # relative to the current directory
    data = [f"data.{key}={value}" for key, value in on_tree().items()]
    code, out, err = command(f"checkpoint={path.parents[1]}", *data, f"output={tmp_path}/out", "device=cpu")
    assert (code, err) == (0, "")
    assert re.fullmatch(
        r"evaluate\.py: bn_x5 at step 7 on 20 images of cifar10; top-1 error [\d.]+% \([\d.]+ to [\d.]+\), "
        r"top-5 error [\d.]+% \([\d.]+ to [\d.]+\); 1 crop, 1 model, moving averages; "
        r"out/bn_x5__1x1__moving__\w{12}\.json\n",
        out,
    )
    assert sorted(path.suffix for path in (tmp_path / "out").iterdir()) == [".json", ".md"]


def test_help_in_half_a_second(command, tmp_path):
    code, out, err = command("--help", python_options=["-X", "importtime"])
    assert code == 0
    names = sorted(path.stem for path in (REPOSITORY / "configs" / "data").glob("*.yaml"))
    assert f"\ndata: {', '.join(name for name in names if not name.endswith('mnist'))}\n" in out
    assert re.search(r"^  statistics=moving +statistics of BN", out, re.MULTILINE)
    imported = {line.rpartition("|")[2].strip() for line in err.splitlines()}
    assert "bn.evaluate.config" in imported
    assert not imported & {"torch", "numpy"}


WRONG = {
    "no checkpoint": (
        [],
        "checkpoint: required; accepted: a checkpoint, a run directory, or a list such as [a,b]",
    ),
    "crops": (["checkpoint=a", "crops=10"], "crops=10: accepted: 1, 144"),
    "a list of numbers": (["checkpoint=[1]"], "checkpoint[0]=1: accepted: a path"),
    "unknown key": (
        ["checkpoint=a", "statistic=moving"],
        "statistic: unknown key; accepted: checkpoint, crops, ",
    ),
    "unknown data": (["checkpoint=a", "data=coco"], "data=coco: unknown; accepted: cifar10, "),
    "unknown key of data": (
        ["checkpoint=a", "data.side=3"],
        "data.side: unknown key; accepted: name, root, ",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_use(command, tmp_path, case):
    arguments, expected = WRONG[case]
    code, out, err = command(*arguments)
    assert (code, out) == (1, "")
    assert err.startswith(f"evaluate.py: {expected}")
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_all_data_keys_can_be_chosen():
    config = yaml.safe_load((REPOSITORY / "configs" / "evaluate.yaml").read_text())
    assert config["data"] == {field.name: None for field in fields(ImageData)}
