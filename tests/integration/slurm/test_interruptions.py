"""Preemption and lost nodes: a checkpoint, back into the queue, and on from there to the same bits."""

import json

import pytest

from tests.integration.slurm.conftest import starts

STEPS = ("steps=8000", "checkpoint_every=500", "evaluate.at.every=2000", "log_every=200")


@pytest.fixture(scope="module")
def abrupt(made_cluster):
    """Without accounting, and preemption that gives no time: as unkind as clusters are."""
    return made_cluster("--no-accounting", "--grace=0")


def test_preemption(cluster, ended, typed, planned, undisturbed, bits, until, in_the_middle):
    """Both members are preempted at once, one twice; they keep their jobs, directories and W&B ids."""
    sweep = typed("experiment=mnist_bn", "seed=0,1", *STEPS, "logger=wandb")
    runs = [planned("experiment=mnist_bn", f"seed={seed}", *STEPS, "logger=wandb") for seed in (0, 1)]
    command = cluster.train(*sweep, "hydra.launcher.cpus_per_task=4")  # a node each
    until(lambda: all(map(in_the_middle, runs)))
    jobs = [run.status["job"] for run in runs]
    ids = [json.loads((run.path / "wandb.json").read_text())["id"] for run in runs]
    for run in runs:
        cluster.preempt(run.status["host"])
    until(lambda: all(len(starts(run)) == 2 for run in runs))
    until(lambda: in_the_middle(runs[0]) or runs[0].finished)
    if not runs[0].finished:
        cluster.preempt(runs[0].status["host"])
    code, _, err = ended(command)
    assert (code, err) == (0, "")
    for seed, run in enumerate(runs):
        assert bits(run) == bits(undisturbed("experiment=mnist_bn", f"seed={seed}", *STEPS))
        assert all(step > 0 for step in starts(run)[1:])  # it went on, and did not start anew
        assert run.status["job"] == jobs[seed]
        assert json.loads((run.path / "wandb.json").read_text())["id"] == ids[seed]
        parts = list((run.path / "wandb").glob(f"offline-run-*-{ids[seed]}"))
        assert len(parts) == len(starts(run))


def test_without_grace_and_accounting(abrupt, ended, typed, planned, undisturbed, bits, until, in_the_middle):
    """SLURM requeues by itself, at once; the job saves meanwhile and does not interfere. And a killed member
    is found to be gone although no accounting says so."""
    sweep = typed("experiment=mnist_bn", "seed=0,1", *STEPS)
    runs = [planned("experiment=mnist_bn", f"seed={seed}", *STEPS) for seed in (0, 1)]
    command = abrupt.train(*sweep, "hydra.launcher.cpus_per_task=4")
    until(lambda: all(map(in_the_middle, runs)))
    preempted, killed = runs
    abrupt.kill(killed.status["pid"])
    abrupt.preempt(preempted.status["host"])
    code, _, err = ended(command)
    assert code == 1
    assert f"seed_1: job {killed.status['job']} is gone" in err
    assert preempted.status["state"] == "done"
    assert len(starts(preempted)) == 2
    assert starts(preempted)[1] > 0
    assert bits(preempted) == bits(undisturbed("experiment=mnist_bn", *STEPS))
    code, _, err = ended(abrupt.train(*sweep))
    assert (code, err) == (0, "")
    assert bits(killed) == bits(undisturbed("experiment=mnist_bn", "seed=1", *STEPS))


def test_a_lost_node(abrupt, ended, typed, planned, undisturbed, bits, until, in_the_middle):
    """A node goes down with all its processes; SLURM puts the job back, and it goes on elsewhere."""
    sweep = typed("experiment=mnist_bn", *STEPS)
    run = planned("experiment=mnist_bn", *STEPS)
    command = abrupt.train(*sweep)
    until(lambda: in_the_middle(run))
    node, job = run.status["host"], run.status["job"]
    abrupt.ask("pkill", "-KILL", "-f", f"slurmd -D -N {node}")
    abrupt.kill(run.status["pid"])
    abrupt.ask("scontrol", "update", f"NodeName={node}", "State=DOWN", "Reason=test")
    code, _, err = ended(command)
    assert (code, err) == (0, "")
    assert (run.status["host"] != node, run.status["job"]) == (True, job)
    assert len(starts(run)) == 2
    assert bits(run) == bits(undisturbed("experiment=mnist_bn", *STEPS))
