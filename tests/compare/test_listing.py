"""scripts/runs.py list: the state of each run, read from run directories only."""

import csv
import json
import os
import re
import shutil

import pytest

from benchmarks.run_directories import make_runs, seconds
from bn.run.heartbeat import introduction
from bn.run.state import STATES, RunState, find_runs, state_of
from tests.compare.fake_runs import config_text, line, stat


@pytest.mark.slow
def test_a_real_run_while_it_trains_killed_and_to_its_end(start, cli, typed, planned, listed, tmp_path):
    arguments = typed("experiment=mnist_bn", "steps=2400", "checkpoint_every=100", "evaluate.at.every=300")
    run = planned("experiment=mnist_bn", "steps=2400", "checkpoint_every=100", "evaluate.at.every=300")
    process = start(*arguments)
    process.until(lambda: run.path.exists() and state_of(run.path).accuracy)
    header, row, counts = listed(tmp_path / "runs")
    assert header.split() == ["state", "run", "step", "accuracy", "images/s", "age"]
    assert re.fullmatch(r"running  mnist_bn/\S+/seed_0 +\d?,?\d{3}/2,400 +\d\d\.\d\d% +[\d,]+ +\d+s", row)
    assert counts == "1 run: 1 running"

    process.process.kill()
    process.wait()
    _, row, counts = listed(tmp_path / "runs")
    assert row.startswith("lost ")
    assert row.endswith(f"  process {process.pid} on {os.uname().nodename} is gone")
    assert counts == "1 run: 1 lost"
    assert 300 <= (state_of(run.path).step or 0) <= 2400

    assert cli(*arguments)[0] == 0
    found = state_of(run.path)
    assert (found.state, found.step, found.steps, found.reason) == ("done", 2400, 2400, None)
    assert found.experiment == "mnist_bn"
    assert found.accuracy_of == "test/accuracy_population"
    assert found.accuracy is not None
    assert found.accuracy > 0.9
    _, row, counts = listed(tmp_path / "runs")
    assert f" 2,400/2,400    {found.accuracy:.2%} " in row
    assert counts == "1 run: 1 done"


def test_a_real_run_that_fails_says_why(planned, cli, typed, listed, tmp_path):
    run = planned("experiment=mnist_bn")
    (run.path / "checkpoints").mkdir(parents=True)
    (run.path / "checkpoints" / "step_00000040.0123456789abcdef.pt").write_bytes(b"damaged")
    assert cli(*typed("experiment=mnist_bn"))[0] == 1
    _, row, counts = listed(tmp_path / "runs")
    assert row.startswith("failed ")
    assert "no valid checkpoint is left (1 damaged)" in row
    assert counts == "1 run: 1 failed"


def test_each_state_in_its_place(sweep, listed, tmp_path):
    assert listed(tmp_path / "runs") == [
        "state        run                    step  accuracy  images/s  age  job  reason",
        "done         mnist_bn/a/seed_2   400/400    97.00%     1,234   3h",
        "done         mnist_bn/a/seed_10  400/400    97.50%     1,234   3h",
        "diverged     bn_x5/wild/seed_0     9/400                       3h       loss is nan",
        "queued       mnist_bn/a/seed_3   0/1,000                       3h  1_3",
        "running      mnist_bn/a/seed_4   300/400               1,234   3h",
        "interrupted  bn_x5/a/seed_5      100/400                       3h  1_5  SIGTERM",
        "lost         bn_x5/a/seed_6      150/400                       3d       process 7 on x is gone",
        "failed       bn_x5/a/seed_7       20/400                       3h       OSError: no image",
        "8 runs: 2 done, 1 diverged, 1 queued, 1 running, 1 interrupted, 1 lost, 1 failed",
    ]


def test_filters(sweep, listed, refused, tmp_path):
    def shown(*arguments):
        *rows, counts = listed(*arguments, tmp_path / "runs")
        return [row.split()[1].rpartition("_")[2] for row in rows[1:]], counts

    assert shown("state=lost,failed") == (["6", "7"], "2 runs: 1 lost, 1 failed")
    assert shown("experiment=mnist_bn") == (
        ["2", "10", "3", "4"], "4 runs: 2 done, 1 queued, 1 running",
    )  # fmt: skip
    assert shown("experiment=bn_x5,mnist_bn", "state=done") == (["2", "10"], "2 runs: 2 done")
    assert shown("experiment=bn_x30") == ([], "0 runs")  # the experiment has a config
    told = refused("experiment=bn_x5,bn_x55", tmp_path / "runs")
    assert told.startswith("runs.py: experiment=bn_x5,bn_x55: accepted: ")
    assert ", bn_x30, bn_x5, " in told
    assert refused("state=lost,gone") == f"runs.py: state=lost,gone: accepted: {', '.join(STATES)}"
    assert refused(tmp_path / "nothing").startswith(f"runs.py: {tmp_path / 'nothing'}: no such folder")


def test_an_experiment_without_a_config_is_known_by_its_runs(make, listed, tmp_path):
    make("of_old/default/seed_0", status=stat("done", 400))
    assert listed("experiment=of_old", tmp_path / "runs")[-1] == "1 run: 1 done"


def test_folders(sweep, listed, tmp_path, monkeypatch):
    runs = tmp_path / "runs"
    (runs / ".sweeps" / "12").mkdir(parents=True)
    (runs / ".sweeps" / "12" / "config.yaml").write_text("")
    (runs / "mnist_bn" / "a" / "seed_2" / "checkpoints").mkdir()
    assert len(find_runs(runs)) == 8
    monkeypatch.chdir(tmp_path)
    # The directory of a run itself; two folders, one inside the other.
    assert listed(runs / "mnist_bn" / "a" / "seed_2")[-1] == "1 run: 1 done"
    both = listed(runs / "mnist_bn", runs)
    assert both[-1].startswith("8 runs: ")
    assert both[1].split()[1] == "runs/mnist_bn/a/seed_2"


def test_json_has_all_fields(sweep, listed, tmp_path):
    found = {run["path"]: run for run in map(json.loads, listed("--json", tmp_path / "runs"))}
    assert len(found) == 8
    done = found[str(tmp_path / "runs" / "mnist_bn" / "a" / "seed_2")]
    assert done.pop("config")["steps"] == 400
    assert done.pop("age") == pytest.approx(3.5 * 3600, abs=60)
    assert done == {
        "path": str(tmp_path / "runs/mnist_bn/a/seed_2"), "experiment": "mnist_bn", "state": "done",
        "step": 400, "steps": 400, "accuracy": 0.97, "accuracy_of": "test/accuracy",
        "images_per_second": 1234.5, "job": None, "log": None, "reason": None,
    }  # fmt: skip


def test_csv(grid, listed, tmp_path):
    rows = list(csv.DictReader(listed(grid, "--csv")))
    assert len(rows) == 6
    assert float(rows[5].pop("age")) == pytest.approx(3.5 * 3600, abs=60)
    assert rows[5] == {
        "path": str(grid / "mnist_bn" / "optim.lr-1.0" / "seed_1"), "experiment": "mnist_bn", "state": "done",
        "step": "400", "steps": "400", "accuracy": "0.97", "accuracy_of": "test/accuracy",
        "images_per_second": "", "job": "", "log": "", "reason": "", "seed": "1", "optim.lr": "1",
    }  # fmt: skip
    (tmp_path / "none").mkdir()
    (header,) = csv.reader(listed("--csv", tmp_path / "none"))
    assert header == [*RunState._fields, "seed"]


def test_csv_has_each_column_once_and_each_run_on_a_line(make, listed, tmp_path):
    for seed, steps in enumerate((400, 500)):
        make(f"mnist_bn/a/b, \n\"c\"\udcff{seed}", status=stat("failed", 400, "a, \"b\""), lock="",
             config=config_text("mnist_bn", seed).replace("steps: 50000", f"steps: {steps}"))  # fmt: skip
    header, first, _ = csv.reader(listed("--csv", tmp_path / "runs"))
    row = dict(zip(header, first, strict=True))
    assert len(set(header)) == len(header)
    assert (row["path"].rpartition("/")[2], row["reason"], row["steps"]) == ('b, ?"c"?0', 'a, "b"', "400")


def test_a_lost_or_failed_job_names_its_log(make, listed, tmp_path):
    submitted = {"job": "12_4", "log": "runs/.sweeps/12_4.out"}
    status = stat("running", 120, job="12_4")
    make("a/b/c", status=status, submitted=submitted, lock="", first=["submitted.json"])
    row = listed(tmp_path / "runs")[1]
    assert row.endswith("  12_4  no process works here; see runs/.sweeps/12_4.err")


@pytest.mark.parametrize("name", ["status.json", "submitted.json", "metrics.jsonl", "config.yaml", "lock"])
@pytest.mark.parametrize(
    "content", [b"", b"{", b"[1]", b"null", b"\xff\x00\n\x1b[2J", b'{"step": "x", "state": [], "config": 1}']
)
def test_a_broken_file_breaks_nothing(make, listed, tmp_path, name, content):
    path = make("mnist_bn/a/seed_0", status=stat("failed", 20, "why"), metrics=line(20), lock="")
    (path / name).write_bytes(content)
    found = state_of(path)
    assert found.state in STATES
    if name != "metrics.jsonl":
        assert (found.step, found.images_per_second) == (20, 1234.5)
    if name != "status.json":
        assert found.steps == 400
    elif not content.startswith(b'{"'):
        assert found.reason == "no process works here; status.json is damaged"
    rows = listed(tmp_path / "runs")
    assert len(rows) == 3
    assert all(row.isprintable() for row in rows)


def test_incomplete_run_directories(make, tmp_path, listed):
    """Directories that vanish, are empty, or contain folders in place of files."""
    (tmp_path / "runs" / "a" / "b" / "seed_0").mkdir(parents=True)
    path = make("a/b/seed_1", lock=introduction())
    for name in ("status.json", "metrics.jsonl", "submitted.json"):
        (path / name).mkdir()
    assert (state_of(path).state, state_of(path).steps) == ("running", 400)
    assert listed(tmp_path / "runs")[-1] == "1 run: 1 running"
    assert state_of(tmp_path / "gone").state == "lost"


def test_the_keys_that_differ_are_columns(grid, listed):
    header, *rows, counts = listed(grid)
    assert header.split()[:4] == ["state", "run", "optim.lr", "step"]
    assert [row.split()[1:3] for row in rows[:3]] == [
        ["mnist_baseline/optim.lr-0.1/seed_0", "0.1"],
        ["mnist_baseline/optim.lr-0.1/seed_1", "0.1"],
        ["mnist_bn/optim.lr-0.1/seed_0", "0.1"],
    ]
    assert counts == "6 runs: 6 done"
    assert listed(grid, "optim.lr=1")[0].split()[:3] == ["state", "run", "step"]  # lr is equal in both


def test_keys_that_do_not_make_another_run_are_no_columns(make, listed, tmp_path):
    for seed in range(2):
        config = config_text("mnist_bn", seed).replace("output: runs", f"output: runs{seed}")
        config = config.replace("root: data/mnist", f"root: elsewhere/{seed}")
        make(f"mnist_bn/default/seed_{seed}", status=stat("done", 400), config=config, lock="")
    assert listed(tmp_path / "runs")[0].split() == ["state", "run", "step", "age"]


@pytest.mark.parametrize(
    ("options", "accuracies"),
    [
        (["--sort", "accuracy"], ["70.00%", "80.00%", "85.00%", "87.00%", "95.00%", "97.00%"]),
        (["--sort", "seed"], ["70.00%", "85.00%", "95.00%", "80.00%", "87.00%", "97.00%"]),
        (["--sort", "run"], ["70.00%", "80.00%", "85.00%", "87.00%", "95.00%", "97.00%"]),
        (["--sort", "model.norm"], ["85.00%", "87.00%", "95.00%", "97.00%", "70.00%", "80.00%"]),
    ],
)
def test_sorted_by_any_column_or_key(grid, listed, options, accuracies):
    assert [re.findall(r"\S+%", row)[0] for row in listed(grid, *options)[1:-1]] == accuracies


def test_unknown_values_are_sorted_last(sweep, listed, refused, tmp_path):
    rows = listed(tmp_path / "runs", "--sort", "accuracy")
    assert [row.split()[0] for row in rows[1:3]] == ["done", "done"]
    accuracies = [re.findall(r"\S+%", row) for row in rows[1:-1]]
    assert accuracies == [["97.00%"], ["97.50%"], *[[]] * 6]
    assert refused(tmp_path / "runs", "--sort", "acuracy") == (
        "runs.py: acuracy: no run here has this key; accepted: state, step, accuracy, age, debug "
        "or a key of config.yaml; similar: accuracy, accuracy_of"
    )


def test_a_copy_and_a_link_are_of_the_experiment_in_their_config(grid, listed, tmp_path):
    first = grid / "mnist_bn" / "optim.lr-1.0" / "seed_1"
    shutil.copytree(first, tmp_path / "kept" / "the-best")
    (tmp_path / "linked").symlink_to(first)
    found = [json.loads(row) for row in listed("--json", tmp_path / "kept", tmp_path / "linked")]
    assert [run["experiment"] for run in found] == ["mnist_bn", "mnist_bn"]
    assert listed(tmp_path / "linked", grid)[-1] == "6 runs: 6 done"  # each once


@pytest.mark.slow
def test_a_thousand_runs_take_a_second_of_cpu(tmp_path):
    make_runs(tmp_path, 1_000)
    wall, cpu = min(seconds([command, str(tmp_path)]) for command in 3 * ["list"])
    assert cpu < 1.5, f"{cpu:.2f} s of CPU, {wall:.2f} s in all"
