"""The fast readers of `bn.compare` against plain ones, and incomplete files."""

import os
import re
from pathlib import Path

import pytest
import yaml

from bn.compare.rows import curve, rows_of
from bn.compare.runs import config_of, find_run, runs_in
from bn.config import completed, config_from, flatten, recorded, to_dict
from bn.errors import UserError
from bn.files import Damaged
from bn.run.directory import read_lines
from tests.compare.fake_runs import config_text, line

OLD = Path(__file__).parents[1] / "run" / "old_runs"
TEXTS = [
    "experiment: a\noutput: '/a: b #c'\n",
    'experiment: a\noutput: "two\\\n  \\ lines"\n',
    "experiment: a\nobserve:\n- x\n- y\nmodel:\n  hidden:\n  - 1\n",
    "experiment: a\nobserve: []\nmodel: {name: mlp, hidden: [1]}\n",
    "experiment: a\nnote: |\n  x: 1\n\n  y\n",  # not as the program writes it: it writes no empty lines
    "# a comment\nexperiment: a\n",
    "experiment: a\nexperiment: b\n",
    "---\nexperiment: a\n",
]


@pytest.mark.parametrize("text", TEXTS)
def test_a_config_is_read_as_yaml(tmp_path, text):
    (tmp_path / "config.yaml").write_text(text)
    assert config_of(tmp_path) == completed(yaml.safe_load(text))


def test_configs_of_the_program_are_read_as_yaml(make):
    for text in (config_text("mnist_bn"), config_text("mnist_baseline", 7, lr=0.3)):
        assert config_of(make("a/b/seed_0", config=text)) == completed(yaml.safe_load(text))


@pytest.mark.parametrize("text", ["", "x", "- 1\n", "a: &b 1\nc: *b\n", "a: *b\n", "a: [\n", "a: 1\n b: 2\n"])
def test_an_invalid_config_is_empty(tmp_path, text):
    (tmp_path / "config.yaml").write_text(text)
    assert config_of(tmp_path) == {}


@pytest.mark.parametrize("name", ["mnist_bn", "bn_x5"])
def test_keys_that_a_config_lacks_have_their_defaults(name):
    saved = yaml.safe_load((OLD / name / "config.yaml").read_text())
    assert "steps_factor" not in saved
    assert completed(saved) == flatten(to_dict(config_from(recorded(saved))))


def test_a_present_group_has_no_default_besides_its_keys():
    chosen = completed({"logger": {"tensorboard": {"flush_s": 10}}})
    found = {key: value for key, value in chosen.items() if key.startswith("logger")}
    assert found == {"logger.tensorboard.flush_s": 10, "logger.wandb": None}


def test_rows_are_those_of_the_strict_reader(trained):
    run = trained("experiment=mnist_bn")
    rows = read_lines(run.path / "metrics.jsonl")
    assert rows_of(run.path) == rows
    assert rows_of(run.path, "test/accuracy") == [row for row in rows if "test/accuracy" in row]
    steps, values = curve(rows, "test/accuracy")
    assert (steps.tolist(), values[-1]) == ([60, 120], rows[-1]["test/accuracy"])


@pytest.mark.parametrize("torn", ["", "{", '{"step": 3', '{"step": 300, "wall_s": 1.0}', "\x00\x00"])
def test_an_unfinished_row_is_skipped(make, torn):
    path = make("a/b/seed_0", metrics=line(100) + line(200) + torn)
    assert [row["step"] for row in rows_of(path)] == [100, 200]


@pytest.mark.parametrize("wrong", ["{", "[1]", '{"step": 1.5}', '{"step": 3, "x": "y"}', '{"x": 1}', ""])
def test_a_damaged_row_is_named(make, wrong):
    path = make("a/b/seed_0", metrics=f"{line(100)}{wrong}\n{line(300)}")
    with pytest.raises(Damaged, match=r"metrics\.jsonl: damaged \(line 2: "):
        rows_of(path)


def test_a_run_without_rows(make):
    path = make("a/b/seed_0")
    assert rows_of(path) == []
    os.mkfifo(path / "metrics.jsonl")
    with pytest.raises(Damaged, match="not a regular file"):  # does not wait for a writer
        rows_of(path)


def test_a_run_by_its_path_or_its_name_below_runs(grid, monkeypatch):
    monkeypatch.setattr("bn.compare.runs.RUNS", grid)
    name = "mnist_bn/optim.lr-1.0/seed_1"
    assert find_run(name).state.path == grid / name
    assert find_run(str(grid / name)).config["optim.lr"] == 1.0
    with pytest.raises(UserError, match="mnist_bn: contains 4 runs; accepted: the folder of one"):
        find_run("mnist_bn")
    with pytest.raises(
        UserError, match="no/run: no such run; accepted: its folder, its name below runs/, or its id"
    ):
        find_run("no/run")


def test_a_run_by_its_id(grid, monkeypatch):
    """In runs/ or in a given folder, however its path is written."""
    path = grid / "mnist_bn" / "optim.lr-1.0" / "seed_1"
    name = find_run(str(path)).id
    assert re.fullmatch("[0-9a-f]{6}", name)
    assert len({run.id for run in runs_in([grid])}) == 6
    with pytest.raises(UserError, match=f"{name}: no such run"):
        find_run(name)
    monkeypatch.setattr("bn.compare.runs.RUNS", grid)
    monkeypatch.chdir(grid.parent)
    for folder in ("", f"{grid}/", f"{grid}/mnist_bn/", "runs/", "./"):
        assert find_run(f"{folder}{name}").path.resolve() == path
    monkeypatch.setattr("bn.compare.runs.id_of", lambda path: name)
    with pytest.raises(UserError, match=f"{name}: the id of 6 runs; accepted: .*seed_1"):
        find_run(name)


def test_a_queued_run_has_the_submitted_config(make, tmp_path):
    config = yaml.safe_load(config_text("mnist_bn"))
    path = make("mnist_bn/a/seed_0", submitted={"job": "1", "config": config})
    (path / "config.yaml").unlink()
    (run,) = runs_in([tmp_path])
    assert run.config == {**completed(config), "debug": "none"}
