"""The content of a run directory."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
import yaml

from bn.config import config_from, to_dict
from bn.files import REPOSITORY
from bn.run.checkpoint import list_checkpoints, load_checkpoint
from bn.run.directory import RunDirectory, read_lines

FILES = {"config.yaml", "env.json", "metrics.jsonl", "activations.npz", "status.json", "checkpoints", "lock"}


@pytest.fixture
def run(undisturbed):
    return undisturbed("experiment=mnist_bn", "data.validation=5000")


def test_its_files(run):
    assert {path.name for path in run.path.iterdir()} == FILES
    assert not list(run.path.rglob("*.part*"))


def test_config_yaml_is_the_resolved_config(run):
    saved = yaml.safe_load((run.path / "config.yaml").read_text())
    assert saved == to_dict(run.config)
    assert config_from(saved) == run.config


def test_env_json(run):
    env = json.loads((run.path / "env.json").read_text())

    def git(*arguments):
        done = subprocess.run(
            ["git", *arguments], cwd=REPOSITORY, capture_output=True, text=True, check=False
        )
        return done.stdout.strip() if done.returncode == 0 else None

    changes = git("status", "--porcelain", "--", ".", ":!results", ":!README.md", ":!docs")
    assert env["commit"] == git("rev-parse", "HEAD")
    assert env["dirty"] == (None if changes is None else bool(changes))
    assert (env["torch"], env["numpy"]) == (torch.__version__, np.__version__)
    assert env["python"] == ".".join(map(str, sys.version_info[:3]))
    assert env["device"]["type"] == "cpu"
    assert env["device"]["threads"] == 1
    assert env["device"]["name"]
    assert (env["step"], env["resumed"]) == (0, [])
    assert env["command"]
    assert {"host", "platform", "processor", "time"} <= env.keys()


def test_metrics_jsonl(run):
    lines = read_lines(run.path / "metrics.jsonl")
    assert [line["step"] for line in lines] == [20, 40, 60, 80, 100, 120]
    always = {"step", "wall_s", "train/loss", "train/images_per_second"}
    accuracies = {"test/accuracy", "validation/accuracy"}
    final = {"test/accuracy_population", "validation/accuracy_population"}
    for line in lines:
        expected = always | (accuracies if line["step"] in (60, 120) else set())
        assert set(line) == expected | (final if line["step"] == 120 else set())
        assert all(0 < value <= 1 for key, value in line.items() if "accuracy" in key)
    assert lines[-1]["train/loss"] < lines[0]["train/loss"]
    walls = [line["wall_s"] for line in lines]
    assert walls == sorted(walls)
    # Accuracies are multiples of 1/10,000 (test) and 1/5,000 (held out).
    assert round(lines[-1]["test/accuracy"] * 10_000, 6) % 1 == 0
    assert round(lines[-1]["validation/accuracy"] * 5_000, 6) % 1 == 0


def test_a_network_without_bn_reports_no_population_accuracy(undisturbed):
    lines = read_lines(undisturbed("experiment=mnist_baseline").path / "metrics.jsonl")
    assert set(lines[-1]) == {"step", "wall_s", "train/loss", "train/images_per_second", "test/accuracy"}


def test_activations_npz(run):
    with np.load(run.path / "activations.npz") as arrays:
        found = dict(arrays)
    assert set(found) == {"steps", "percentiles", "layer1", "layer2", "layer3"}
    assert found["steps"].tolist() == [0, 30, 60, 120]
    assert found["percentiles"].tolist() == [15, 50, 85]
    for layer in ("layer1", "layer2", "layer3"):
        assert found[layer].shape == (4, 3, 100)
        assert found[layer].dtype == np.float32
        assert np.isfinite(found[layer]).all()
        assert (np.diff(found[layer], axis=1) >= 0).all()  # 15th <= 50th <= 85th
        assert np.abs(found[layer][0, 1]).max() < 0.3  # BN with gamma = 1, beta = 0: medians near 0
        assert not np.array_equal(found[layer][0], found[layer][-1])


def test_status_json(run):
    status = json.loads((run.path / "status.json").read_text())
    assert (status["state"], status["step"], status["steps"], status["reason"]) == ("done", 120, 120, None)
    assert run.finished


def test_the_checkpoint_is_the_network_that_was_trained(run):
    state = load_checkpoint(list_checkpoints(run.checkpoints)[-1])
    assert state["step"] == 120
    assert state["model"]["classifier.weight"].shape == (10, 100)
    tracked = [value for name, value in state["model"].items() if name.endswith("num_batches_tracked")]
    assert [int(value) for value in tracked] == [120] * 3


def test_an_unreadable_status_counts_as_missing(run, tmp_path):
    directory = RunDirectory(tmp_path / "run", run.config)
    assert (directory.status, directory.finished) == ({}, False)
    directory.path.mkdir()
    (directory.path / "status.json").write_text('{"state": "do')
    assert (directory.status, directory.finished) == ({}, False)


def test_a_truncated_last_line_is_left_out(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1, "a": 2}\n{"step": 2, "a": 3}\n{"step": 3, "a"')
    assert read_lines(path) == [{"step": 1, "a": 2}, {"step": 2, "a": 3}]
    assert read_lines(tmp_path / "nothing.jsonl") == []
