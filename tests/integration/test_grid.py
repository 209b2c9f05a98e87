"""`python train.py -m ...` runs the grid on both cores, to the bits of single runs, and skips the ended."""

import json
import os
import re

import pytest
from hydra_plugins.hydra_joblib_launcher import _core
from joblib.externals.loky.process_executor import TerminatedWorkerError

from bn.errors import Interrupted
from bn.run.checkpoint import list_checkpoints

GRID = ("-m", "experiment=mnist_baseline,mnist_bn", "seed=0,1")
MEMBERS = [
    (f"experiment={name}", f"seed={seed}") for name in ("mnist_baseline", "mnist_bn") for seed in (0, 1)
]


@pytest.mark.slow
def test_a_grid(start, command, typed, planned, undisturbed, bits, snapshot, tmp_path):
    process = start(*typed(*GRID))
    code, out, err = process.wait()
    assert (code, err) == (0, "")
    assert out.startswith("train.py: sweep of 4 runs, 0 finished before\n")
    runs = [planned(*member) for member in MEMBERS]
    for run in runs:
        assert "for 120 steps" not in out  # that is in its train.log
        said = f"{run.path.parent.parent.name}: seed {run.config.seed}, for 120 steps -> "
        assert said in (run.path / "train.log").read_text()
        assert f"{run.path.parent.name}/{run.path.name}: done at step 120; test/accuracy 0." in out

    # Each is the run that its own command makes, and says so.
    for run, member in zip(runs, MEMBERS, strict=True):
        assert bits(run) == bits(undisturbed(*member))
        typed_there = json.loads((run.path / "env.json").read_text())["command"]
        assert typed_there.startswith("python train.py ")
        assert set(member) < set(typed_there.split())
        assert "," not in typed_there.partition("experiment=")[2].split()[0]

    workers = {run.status["pid"] for run in runs}
    assert len(workers) == min(2, len(os.sched_getaffinity(0)))
    if len(workers) > 1:
        assert process.pid not in workers

    before = snapshot(tmp_path)
    code, out, err = command(*typed(*GRID))
    assert (code, err) == (0, "")
    first, *table, last = out.splitlines()
    assert first == "train.py: sweep of 4 runs, 4 finished before"
    assert [row.split()[:2] for row in table[1:]] == [
        [name, str(seed)] for name in ("mnist_baseline", "mnist_bn") for seed in (0, 1)
    ]
    assert re.fullmatch(r"train\.py: 4 of 4 finished; next: python \S+/scripts/runs\.py \S*runs", last)
    assert snapshot(tmp_path) == before


def test_a_member_that_fails_leaves_the_others_alone(
    cli, typed, planned, trained, stop_after, undisturbed, bits
):
    with pytest.raises(Interrupted):
        trained("experiment=mnist_bn", stop_signal=stop_after(60))
    bad = planned("experiment=mnist_bn")
    for path in list_checkpoints(bad.checkpoints):
        path.write_bytes(b"damaged")
    code, out, err = cli(*typed("-m", "experiment=mnist_bn", "seed=0,1", "hydra.launcher.n_jobs=1"))
    assert code == 1
    (why,) = err.splitlines()  # at once, and once
    assert "train.py: 1 of 2 finished, 1 failed, after " in out
    assert why.startswith("train.py: 1 of 2: ")
    assert "seed_0: failed at step 60; " in why
    assert "no valid checkpoint is left (2 damaged)" in why
    assert why.endswith(f"(more in {bad.name}/train.log)")
    assert "no valid checkpoint" in (bad.path / "train.log").read_text()
    assert re.search(r"^0 +failed +\d", out, re.MULTILINE)
    assert bad.status["state"] == "failed"
    other = planned("experiment=mnist_bn", "seed=1")
    assert f"{other.path.name}: done at step 120" in out
    assert bits(other) == bits(undisturbed("experiment=mnist_bn", "seed=1"))


def test_finished_members_are_not_started_again(trained, cli, typed, planned, snapshot):
    """One has ended, one has not: only that one runs."""
    done = trained("experiment=mnist_bn")
    before = snapshot(done.path)
    code, out, err = cli(*typed("-m", "experiment=mnist_bn", "seed=0,1", "hydra.launcher.n_jobs=1"))
    assert (code, err) == (0, "")
    assert out.startswith("train.py: sweep of 2 runs, 1 finished before\n")
    assert "seed 0, for" not in out
    assert snapshot(done.path) == before
    assert planned("experiment=mnist_bn", "seed=1").finished


@pytest.mark.parametrize("flag", [[], ["-m"]], ids=["alone", "with -m"])
def test_a_sweep_file_and_an_axis_of_its_own(cli, typed, planned, flag):
    arguments = (*flag, "sweep=figure1", "seed=3", "steps=2", "optim.lr=0.5", "hydra.launcher.n_jobs=1")
    code, out, err = cli(*typed(*arguments))
    assert (code, err) == (0, "")
    assert "sweep of 2 runs, 0 finished before" in out
    for network in ("mnist_baseline", "mnist_bn"):
        run = planned(f"experiment={network}", "seed=3", "steps=2", "optim.lr=0.5")
        assert run.status["state"] == "done"


def test_a_process_that_was_killed_ends_the_sweep_in_one_line(cli, typed, monkeypatch):
    def launch(**_):
        raise TerminatedWorkerError("exit codes:\nSIGKILL(-9)")  # what joblib raises; it stops the others

    monkeypatch.setattr(_core, "launch", launch)
    code, _, err = cli(*typed("-m", "experiment=mnist_bn", "seed=0,1"))
    assert code == 1
    assert err == "train.py: a process of the sweep was killed: the same command completes it\n"


def test_a_member_that_failed_is_run_again_only_when_asked(cli, typed, planned, undisturbed, bits):
    run = planned("experiment=mnist_bn")
    run.path.mkdir(parents=True)
    run.set_status("failed", 0, "no space left on the device")
    sweep = ("-m", "experiment=mnist_bn", "seed=0,1", "hydra.launcher.n_jobs=1")
    code, out, err = cli(*typed(*sweep))
    assert code == 1
    assert out.startswith("train.py: sweep of 2 runs, 0 finished before, 1 failed before\n")
    (why,) = err.splitlines()
    assert why.endswith(
        "failed at step 0; no space left on the device (hydra.sweeper.failed=again runs it again)"
    )
    assert "train.py: 1 of 2 finished, 1 failed, after " in out
    assert run.status["state"] == "failed"
    assert planned("experiment=mnist_bn", "seed=1").status["state"] == "done"

    code, out, err = cli(*typed(*sweep))  # nothing is left to start, and the sweep is not complete
    assert code == 1
    assert "sweep of 2 runs, 1 finished before, 1 failed before" in out

    code, out, err = cli(*typed(*sweep, "hydra.sweeper.failed=again"))
    assert (code, err) == (0, "")
    assert bits(run) == bits(undisturbed("experiment=mnist_bn"))
