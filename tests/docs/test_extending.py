"""Follows docs/extending.md in a copy of the repository: its files, its entries, its commands."""

import gzip
import hashlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys

import numpy as np
import pytest

from bn.files import REPOSITORY

PAGE = (REPOSITORY / "docs" / "extending.md").read_text()
BLOCKS = re.findall(r"^```(python|yaml|bash)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
COMMANDS = [line for kind, text in BLOCKS if kind == "bash" for line in text.splitlines()]
SHORT = ["log_every=10", "evaluate.population_batches=2", "probe.examples=60", "device=cpu"]
NUMBERS = {"saturation": "saturated", "scales": "scale"}  # the names that an observation records under
MLP = ["steps=20"]
IMAGES = ["steps=4", "steps_factor=1", "model.width=0.01"]


def idx(name):
    """A file in MNIST's format with 60 examples."""
    draws = np.random.default_rng(0)
    if "labels" in name:
        return bytes(8) + draws.integers(0, 10, 60, np.uint8).tobytes()
    return bytes(16) + draws.integers(0, 256, (60, 784), np.uint8).tobytes()


def data_set(root, entry):
    """The entry with the checksums of files that are written to `root`."""
    root.mkdir(parents=True)
    for name in re.findall(r"[\w-]+-ubyte", entry):
        (root / f"{name}.gz").write_bytes(gzip.compress(idx(name)))
        entry = entry.replace(f'"{name}": "..."', f'"{name}": "{hashlib.sha256(idx(name)).hexdigest()}"')
    return entry


@pytest.fixture(scope="module")
def extended(tmp_path_factory):
    """A copy of the repository with the page's additions."""
    copy = tmp_path_factory.mktemp("extended")
    for name in ("bn", "configs", "hydra_plugins"):
        shutil.copytree(REPOSITORY / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(REPOSITORY / "train.py", copy)
    (copy / "data").mkdir()
    (copy / "data" / "mnist").symlink_to(REPOSITORY / "data" / "mnist")
    for kind, text in BLOCKS:
        if kind == "bash":
            continue
        first, _, body = text.partition("\n")
        path, _, table = first.removeprefix("# ").partition(": ")
        if table == "IDX_SETS":
            body = data_set(copy / "data" / "kmnist", body)
        if table:
            source = (copy / path).read_text()
            assert f"\n{table} = {{\n" in source
            body = source.replace(f"\n{table} = {{\n", f"\n{table} = {{\n{body}")
        else:
            assert not (copy / path).exists()
        (copy / path).write_text(body)
    return copy


def test_the_page_has_the_five():
    assert len(COMMANDS) == 6
    assert len([1 for kind, _ in BLOCKS if kind != "bash"]) == 10


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_trains(extended, command):
    python, *arguments = shlex.split(command)
    assert python == "python"
    output = f"runs{COMMANDS.index(command)}"
    short = [*SHORT, *(IMAGES if "scale=smoke" in arguments else MLP), f"output={output}"]
    done = subprocess.run(
        [sys.executable, *arguments, *short], cwd=extended, capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": str(extended)}, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    if "scale=smoke" not in arguments and "data=kmnist" not in arguments and "scales" not in command:
        assert "readable step, the fused step does not support" in done.stdout
    (path,) = (extended / output).rglob("metrics.jsonl")
    keys = {key for line in path.read_text().splitlines() for key in json.loads(line)}
    assert "train/loss" in keys
    for name in ("saturation", "scales"):
        assert (name in command) == any(key.startswith(f"observe/{NUMBERS[name]}/") for key in keys)
