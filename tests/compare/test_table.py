"""scripts/runs.py table against scipy and numpy."""

import csv
import json
import re
import subprocess
import sys

import numpy as np
import pytest
from scipy import stats

from tests.compare.conftest import CURVES, SCRIPT
from tests.compare.made import config_text, curve, said


def cells(lines):
    """The rows of the Markdown table, by their first two columns."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    return rows[0], {tuple(row[:2]): row[2:] for row in rows[2:]}


def expected(values, digits):
    half = stats.t.ppf(0.975, len(values) - 1) * stats.sem(values)
    return f"{np.mean(values):,.{digits}f} ± {half:,.{digits}f}"


def test_final_best_and_steps_to_a_level(grid, listed):
    header, rows = cells(listed("table", grid, "--level", "0.65,0.9"))
    assert header == ["experiment", "lr", "runs", "final (%)", "best (%)", "steps to 65%", "steps to 90%"]
    assert len(rows) == 3
    for (experiment, lr), curves in CURVES.items():
        runs, final, best, to_65, _ = rows[experiment, f"{lr:g}"]
        assert runs == "2 done"
        assert final == expected([100 * values[-1] for values in curves], 2)
        assert best == expected([100 * max(values) for values in curves], 2)
        steps = [100, 200, 300, 400]
        assert to_65 == expected([np.interp(0.65, values, steps) for values in curves], 0)
    assert rows["mnist_baseline", "0.1"][4] == "0 of 2"
    assert rows["mnist_bn", "0.1"][4] == "1 of 2: 300"
    assert rows["mnist_bn", "1"][4] == expected([300, 200], 0)


def test_any_logged_number_and_the_lower_the_better_of_a_loss(make, listed, tmp_path):
    for seed, values in enumerate(([4.0, 2.0, 1.0, 3.0], [4.0, 3.0, 2.0, 2.5])):
        make(f"mnist_bn/a/seed_{seed}", status=said("done", 400), lock="",
             metrics=curve(values, name="train/loss"), config=config_text("mnist_bn", seed))  # fmt: skip
    lines = listed("table", tmp_path / "runs", "--value", "train/loss", "--level", "2.5")
    header, rows = cells(lines)
    assert header == ["experiment", "runs", "train/loss final", "train/loss best", "steps to 2.5"]
    assert rows["mnist_bn", "2 done"] == [
        expected([3.0, 2.5], 3), expected([1.0, 2.0], 3), expected([175, 250], 0),
    ]  # fmt: skip
    assert lines[-1].startswith("train/loss. Mean ± half-width of the 95% confidence interval")


def test_the_final_accuracy_is_that_of_algorithm_2(make, listed, tmp_path):
    last = {"step": 300, "wall_s": 3, "test/accuracy": 0.7, "test/accuracy_population": 0.72}
    make("mnist_bn/a/seed_0", status=said("done", 300), metrics=f"{curve([0.5, 0.75])}{json.dumps(last)}\n",
         lock="", config=config_text("mnist_bn"))  # fmt: skip
    _, rows = cells(listed("table", tmp_path / "runs"))
    assert rows["mnist_bn", "1 done"] == ["72.00", "75.00"]


def test_what_has_not_ended_or_diverged_is_counted(make, listed, tmp_path):
    states = {"done": [0.5, 0.8], "diverged": [0.6, 0.1], "interrupted": [0.9]}
    for seed, (state, values) in enumerate(states.items()):
        make(f"mnist_bn/a/seed_{seed}", status=said(state, 200), metrics=curve(values), lock="",
             config=config_text("mnist_bn", seed))  # fmt: skip
    make("mnist_bn/a/seed_9", status=said("interrupted", 0), lock="", config=config_text("mnist_bn", 9))
    _, rows = cells(listed("table", tmp_path / "runs", "--level", "0.55"))
    assert rows["mnist_bn", "1 done, 1 diverged, 2 interrupted"] == [
        "80.00", expected([80, 60], 2), expected([100 + 100 * 0.05 / 0.3, 100], 0),
    ]  # fmt: skip


def test_csv_has_the_same_numbers(grid, listed):
    rows = list(csv.DictReader(listed("table", grid, "--level", "0.9", "--csv")))
    assert [row["optim.lr"] for row in rows] == ["0.1", "0.1", "1"]
    last = rows[2]
    assert float(last["final (%)"]) == pytest.approx(96)
    assert float(last["final (%), interval"]) == pytest.approx(stats.t.ppf(0.975, 1) * 1.0)
    assert (last["final (%), n"], last["done"], last["diverged"]) == ("2", "2", "0")
    assert (rows[0]["steps to 90%"], rows[0]["steps to 90%, n"]) == ("", "0")


def test_a_damaged_run_is_left_out_and_named(grid):
    metrics = grid / "mnist_bn" / "optim.lr-1.0" / "seed_1" / "metrics.jsonl"
    metrics.write_text(metrics.read_text().replace('"step": 200, ', ""))
    done = subprocess.run([sys.executable, SCRIPT, "table", grid], capture_output=True, text=True, check=True)
    _, rows = cells(done.stdout.splitlines())
    assert rows["mnist_bn", "1"] == ["1 done", "95.00", "95.00"]
    why = r"metrics\.jsonl: damaged \(line 2: step is missing\): restore it"
    assert re.fullmatch(rf"runs\.py: left out: \S+/seed_1: \S+/{why}\n", done.stderr)


def test_refusals(grid, refused, listed, tmp_path):
    assert refused("table", grid, "--value", "x") == (
        "runs.py: --value=x: no run here has logged it; accepted: step, test/accuracy, wall_s"
    )
    assert refused("table", grid, "--level", "90") == (
        "runs.py: --level=90: accepted: a share of 1, such as 0.9, of an accuracy"
    )
    line = "runs.py: argument --level: x: accepted: numbers, such as 0.9,0.95"
    assert refused("table", grid, "--level", "x") == line
    (tmp_path / "empty").mkdir()
    assert listed("table", tmp_path / "empty")[0] == "no runs"


def test_each_experiment_has_its_own_accuracy(make, listed, tmp_path):
    make("mnist_bn/a/seed_0", status=said("done", 200), metrics=curve([0.5, 0.8]), lock="",
         config=config_text("mnist_bn"))  # fmt: skip
    validated = curve([0.2, 0.1], name="validation/accuracy")
    make("bn_x5/a/seed_0", status=said("done", 200), lock="", metrics=validated,
         config=config_text("mnist_bn").replace("experiment: mnist_bn", "experiment: bn_x5"))  # fmt: skip
    lines = listed("table", tmp_path / "runs", "--level", "0.1")
    _, rows = cells(lines)
    assert rows["bn_x5", "1 done"] == ["10.00", "20.00", "100"]
    assert rows["mnist_bn", "1 done"] == ["80.00", "80.00", "100"]
    assert lines[-1].startswith("test/accuracy, validation/accuracy. Mean ± ")
    header, _ = cells(listed("table", tmp_path / "runs", "--value", "accuracy,wall_s"))
    assert header[2:] == ["accuracy final (%)", "accuracy best (%)", "wall_s final", "wall_s best"]
