"""scripts/runs.py table against scipy and numpy."""

import csv
import json
import re
import subprocess
import sys

import numpy as np
import yaml
from scipy import stats

from bn.cli import planned_run
from bn.compare.runs import runs_in
from bn.compare.settings import settings
from bn.config import to_dict
from tests.compare.conftest import CURVES, SCRIPT
from tests.compare.fake_runs import config_text, curve, stat
from tests.compare.test_terminal import in_a_terminal, plain


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
        if experiment == "mnist_baseline":
            steps = [100, 200, 300, 400]
            assert to_65 == expected([np.interp(0.65, values, steps) for values in curves], 0)
    assert rows["mnist_bn", "0.1"][3] == expected([175, 125], 0)
    assert rows["mnist_bn", "1"][3] == "≤ 100"  # both seeds were above it when first evaluated
    assert rows["mnist_baseline", "0.1"][4] == "0 of 2"
    assert rows["mnist_bn", "0.1"][4] == "1 of 2: 300"
    assert rows["mnist_bn", "1"][4] == expected([300, 200], 0)


def test_a_copy_is_not_another_seed(grid, make, runs_py):
    """Otherwise the interval would have zero width."""
    make("copy/seed_0", status=stat("done", 400), metrics=curve(CURVES["mnist_bn", 1.0][0]), lock="",
         config=config_text("mnist_bn", 0, lr=1.0))  # fmt: skip
    _, out, err = runs_py("table", grid, "experiment=mnist_bn", "optim.lr=1")
    _, rows = cells(out.splitlines())
    assert rows["mnist_bn", "2 done"][0] == expected([95, 97], 2)
    assert "2 runs" in out
    assert err.startswith("runs.py: left out: ")
    assert err.count("\n") == 1


def test_any_logged_number_where_a_lower_loss_is_better(make, listed, tmp_path):
    for seed, values in enumerate(([4.0, 2.0, 1.0, 3.0], [4.0, 3.0, 2.0, 2.5])):
        make(f"mnist_bn/a/seed_{seed}", status=stat("done", 400), lock="",
             metrics=curve(values, name="train/loss"), config=config_text("mnist_bn", seed))  # fmt: skip
    lines = listed("table", tmp_path / "runs", "--value", "train/loss", "--level", "2.5")
    header, rows = cells(lines)
    assert header == ["experiment", "runs", "final", "best", "steps to 2.5"]
    assert rows["mnist_bn", "2 done"] == [
        expected([3.0, 2.5], 3), expected([1.0, 2.0], 3), expected([175, 250], 0),
    ]  # fmt: skip
    assert lines[-1].startswith(
        "The table has train/loss: the mean over the seeds ± the half-width of its 95% confidence"
    )


def test_a_level_that_the_first_evaluation_had_reached_is_a_bound(make, listed, tmp_path):
    """Bounds have no mean and no interval."""
    for seed, values in enumerate(([0.7, 0.9], [0.5, 0.9], [0.6, 0.8], [0.1, 0.2])):
        make(f"mnist_bn/a/seed_{seed}", status=stat("done", 200), metrics=curve(values), lock="",
             config=config_text("mnist_bn", seed))  # fmt: skip
    lines = listed("table", tmp_path / "runs", "seed=0,1,2", "--level", "0.1,0.6,0.85")
    _, rows = cells(lines)
    assert rows["mnist_bn", "3 done"][2:] == ["≤ 100", "≤ 100, ≤ 100, 125", "2 of 3: 175, 188"]
    assert lines[-1].count("≤ means that the first logged value reached it") == 1
    _, rows = cells(listed("table", tmp_path / "runs", "--level", "0.6"))
    assert rows["mnist_bn", "4 done"][2:] == ["3 of 4: ≤ 100, ≤ 100, 125"]
    (row,) = csv.DictReader(listed("table", tmp_path / "runs", "--level", "0.6", "--csv"))
    found = [row[f"steps_to_0.6{name}"] for name in ("", "_interval", "_n", "_n_at_first")]
    assert found == ["", "", "3", "2"]


def test_a_choice_replaces_the_keys_that_it_sets(make, listed, tmp_path):
    runs = {"mnist_bn/a": (), "mnist_bn/b": ("debug=fast",), "mnist_bn/c": ("debug=fast", "optim.lr=1"),
            "mnist_bn/d": ("debug=overfit",), "mnist_bn/e": ("debug=fast", "log_every=5")}  # fmt: skip
    for name, overrides in runs.items():
        config = planned_run(["experiment=mnist_bn", *overrides]).config
        make(f"{name}/seed_0", status=stat("done", 400), metrics=curve([0.5]), lock="",
             config=yaml.safe_dump(to_dict(config), sort_keys=False))  # fmt: skip
    header, _ = cells(listed("table", tmp_path / "runs", "debug!=x"))
    assert header == ["experiment", "debug", "lr", "log_every", "runs", "final (%)", "best (%)"]
    names = [group.name() for group in settings(runs_in([tmp_path]))]
    assert names == [
        "mnist_bn, debug=fast, lr=0.1, log_every=5", "mnist_bn, debug=fast, lr=0.1, log_every=10",
        "mnist_bn, debug=fast, lr=1, log_every=10", "mnist_bn, debug=overfit, lr=0.1, log_every=50",
        "mnist_bn, lr=0.1, log_every=100",
    ]  # fmt: skip
    header, _ = cells(listed("table", tmp_path / "runs", "debug=none,overfit"))
    assert header == ["experiment", "debug", "runs", "final (%)", "best (%)"]


def test_settings_are_numbered_if_the_table_is_too_wide(make, tmp_path):
    for lr in (0.1, 1.0):
        for momentum in (0.0, 0.9):
            config = config_text("mnist_bn", lr=lr, momentum=momentum, weight_decay=lr * momentum)
            for hidden in ("  - 100\n" * 3, "  - 100\n" * 30):
                make(f"mnist_bn/{lr}{momentum}{len(hidden)}/seed_0", lock="", status=stat("done", 400),
                     config=config.replace("  - 100\n" * 3, hidden), metrics=curve([0.5]))  # fmt: skip
    code, written = in_a_terminal(["table", tmp_path / "runs", "--level", "0.4"], 80, 50, None)
    lines = plain(written).splitlines()
    assert code == 0
    assert max(map(len, lines)) < 80
    assert "5. mnist_bn, hidden=[100,100,100], lr=0.1, momentum=0, weight_decay=0" in lines
    assert "   weight_decay=0.09" in lines
    header, rows = cells(lines)
    assert header == ["setting", "runs", "final (%)", "best (%)", "steps to 40%"]
    assert len(rows) == 8


def test_the_final_accuracy_is_that_of_algorithm_2(make, listed, tmp_path):
    last = {"step": 300, "wall_s": 3, "test/accuracy": 0.7, "test/accuracy_population": 0.72}
    make("mnist_bn/a/seed_0", status=stat("done", 300), metrics=f"{curve([0.5, 0.75])}{json.dumps(last)}\n",
         lock="", config=config_text("mnist_bn"))  # fmt: skip
    lines = listed("table", tmp_path / "runs")
    _, rows = cells(lines)
    assert rows["mnist_bn", "1 done"] == ["72.00", "75.00"]
    assert "With BN, final is test/accuracy_population, with the statistics of Algorithm 2" in lines[-1]
    assert "Best uses moving averages, so it may be below final" in lines[-1]


def test_unfinished_and_diverged_runs_are_counted(make, listed, tmp_path):
    states = {"done": [0.5, 0.8], "diverged": [0.6, 0.1], "interrupted": [0.9]}
    for seed, (state, values) in enumerate(states.items()):
        make(f"mnist_bn/a/seed_{seed}", status=stat(state, 200), metrics=curve(values), lock="",
             config=config_text("mnist_bn", seed))  # fmt: skip
    make("mnist_bn/a/seed_9", status=stat("interrupted", 0), lock="", config=config_text("mnist_bn", 9))
    _, rows = cells(listed("table", tmp_path / "runs", "--level", "0.55"))
    assert rows["mnist_bn", "1 done, 1 diverged, 2 interrupted"] == [
        "80.00", expected([80, 60], 2), "≤ 100, 117",
    ]  # fmt: skip


def test_csv_has_the_same_numbers(grid, listed):
    rows = list(csv.DictReader(listed("table", grid, "--level", "0.9", "--csv")))
    assert [row["optim.lr"] for row in rows] == ["0.1", "0.1", "1"]
    last = rows[2]
    assert last["accuracy_final"] == "0.96"
    assert last["accuracy_final_interval"] == f"{stats.t.ppf(0.975, 1) * 0.01:.10g}"
    assert (last["accuracy_final_n"], last["done"], last["diverged"]) == ("2", "2", "0")
    assert (rows[0]["steps_to_0.9"], rows[0]["steps_to_0.9_n"]) == ("", "0")


def test_a_damaged_run_is_left_out_and_named(grid):
    metrics = grid / "mnist_bn" / "optim.lr-1.0" / "seed_1" / "metrics.jsonl"
    metrics.write_text(metrics.read_text().replace('"step": 200, ', ""))
    done = subprocess.run([sys.executable, SCRIPT, "table", grid], capture_output=True, text=True, check=True)
    _, rows = cells(done.stdout.splitlines())
    assert rows["mnist_bn", "1"] == ["1 done", "95.00", "95.00"]
    why = r"metrics\.jsonl: damaged \(line 2: step is missing\): restore it"
    assert re.fullmatch(rf"runs\.py: left out: \S+/seed_1/{why}\n", done.stderr)


def test_refusals(grid, refused, tmp_path):
    assert refused("table", grid, "--value", "x") == (
        "runs.py: --value=x: no run here has logged it; accepted: test/accuracy"
    )
    assert refused("table", grid, "--level", "90") == (
        "runs.py: --level=90: accepted: an accuracy as a share of 1, such as 0.9"
    )
    assert refused("table", grid, "--level", "x").startswith("runs.py table: argument --level: invalid")
    (tmp_path / "empty").mkdir()
    line = "no runs here; accepted: other folders or conditions (runs.py list shows the runs)"
    assert refused("table", tmp_path / "empty") == f"runs.py: {line}"
    line = "--value=step: the time of a row, not a value; accepted: test/accuracy"
    assert refused("table", grid, "--value", "step") == f"runs.py: {line}"


def test_each_experiment_has_its_own_accuracy(make, listed, tmp_path):
    make("mnist_bn/a/seed_0", status=stat("done", 200), metrics=curve([0.5, 0.8]), lock="",
         config=config_text("mnist_bn"))  # fmt: skip
    validated = curve([0.2, 0.1], name="validation/accuracy")
    make("bn_x5/a/seed_0", status=stat("done", 200), lock="", metrics=validated,
         config=config_text("mnist_bn").replace("experiment: mnist_bn", "experiment: bn_x5"))  # fmt: skip
    lines = listed("table", tmp_path / "runs", "--level", "0.1")
    _, rows = cells(lines)
    assert rows["bn_x5", "1 done"] == ["10.00", "20.00", "≤ 100"]
    assert rows["mnist_bn", "1 done"] == ["80.00", "80.00", "≤ 100"]
    assert lines[-1].startswith("The table has test/accuracy, validation/accuracy: the mean ")
    header, _ = cells(listed("table", tmp_path / "runs", "--value", "accuracy,test/accuracy"))
    assert header[2:] == [
        "accuracy final (%)",
        "accuracy best (%)",
        "test/accuracy final (%)",
        "test/accuracy best (%)",
    ]
