"""`bn.run.frame`: one row per logged step, with the keys of the config as columns."""

import subprocess
import sys

import numpy as np
import pytest

import bn.run
from bn.errors import UserError
from bn.run.directory import read_lines
from tests.compare.conftest import CURVES


def test_a_row_for_each_logged_step(trained):
    run = trained("experiment=mnist_bn", "optim.lr=0.5", "seed=3")
    frame = bn.run.frame(run.path)
    rows = read_lines(run.path / "metrics.jsonl")
    assert frame["step"].tolist() == [row["step"] for row in rows]
    assert frame["train/loss"].tolist() == [row["train/loss"] for row in rows]
    assert frame["test/accuracy"].dropna().tolist() == [
        row["test/accuracy"] for row in rows if "test/accuracy" in row
    ]
    assert frame["test/accuracy_population"].notna().tolist() == [False] * 5 + [True]
    constant = frame.iloc[0]
    assert (constant["run"], constant["state"], constant["experiment"]) == (str(run.path), "done", "mnist_bn")
    assert (constant["optim.lr"], constant["seed"], constant["model.hidden"]) == (0.5, 3, (100, 100, 100))
    assert frame["optim.lr_batch"].isna().all()
    assert frame["optim.lr"].dtype == float


def test_groups_of_seeds(grid):
    frame = bn.run.frame(grid)
    assert len(frame) == 4 * 6
    grouped = frame.groupby(["experiment", "optim.lr"], observed=True)
    for setting, curves in CURVES.items():
        means = grouped.get_group(setting).groupby("step")["test/accuracy"].agg("mean")
        assert np.allclose(means, np.mean(curves, axis=0))
    assert frame.groupby("setting", observed=True)["run"].nunique().to_dict() == {
        "mnist_baseline, lr=0.1": 2, "mnist_bn, lr=0.1": 2, "mnist_bn, lr=1": 2,
    }  # fmt: skip


def test_conditions_as_on_the_command_line(grid):
    assert set(bn.run.frame(grid, "optim.lr>=1", "seed=1")["run"]) == {
        str(grid / "mnist_bn" / "optim.lr-1.0" / "seed_1")
    }
    with pytest.raises(UserError, match=r"optim\.rl: no run here has this key"):
        bn.run.frame(grid, "optim.rl=1")
    with pytest.raises(UserError, match="no such folder"):
        bn.run.frame(grid / "none")


def test_runs_without_rows_and_no_runs(make, tmp_path):
    make("a/b/seed_0")
    assert len(bn.run.frame(tmp_path)) == 0
    (tmp_path / "empty").mkdir()
    assert len(bn.run.frame(tmp_path / "empty")) == 0


def test_torn_rows_are_skipped_and_damaged_runs_reported(grid):
    metrics = grid / "mnist_bn" / "optim.lr-1.0" / "seed_1" / "metrics.jsonl"
    metrics.write_text(metrics.read_text() + '{"step": 500, "wall')
    assert len(bn.run.frame(grid)) == 4 * 6
    metrics.write_text("x\n")
    with pytest.warns(UserWarning, match=r"left out: .*damaged \(line 1: not JSON\)"):
        assert len(bn.run.frame(grid)) == 4 * 5


@pytest.mark.slow
def test_training_does_not_import_pandas():
    code = "import sys, bn.run, bn.train; assert 'pandas' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
