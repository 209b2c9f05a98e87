"""A sweep on SLURM: one array, what becomes of its members, and the same command again after each of it."""

import json
import re
import signal

from bn.files import write_atomically
from bn.run.submission import submission
from tests.integration.slurm.conftest import starts

# Some seconds, to be disturbed in.
LONG = ("steps=8000", "checkpoint_every=500", "evaluate.at.every=2000", "log_every=200")


def submitted(out):
    """The array's id and how many members it has."""
    count, job = re.findall(r"^train.py: (\d+) submitted as job (\d+); ", out, re.MULTILINE)[0]
    return int(count), job


def test_a_sweep_is_one_array(cluster, ended, typed, planned, undisturbed, bits, snapshot, until, tmp_path):
    sweep = typed("experiment=mnist_baseline,mnist_bn", "seed=0,1")
    code, out, err = ended(cluster.train(*sweep, "hydra.launcher.array_parallelism=2"))
    assert (code, err) == (0, "")
    assert out.startswith("train.py: sweep of 4 runs, 0 finished before\n")
    count, job = submitted(out)
    assert count == 4
    account = ("sacct", "-X", "-n", "-P", "-j", job, "-o", "JobID,State")  # which lags behind
    until(lambda: sorted(cluster.ask(*account).split()) == [f"{job}_{i}|COMPLETED" for i in range(4)])
    for network in ("mnist_baseline", "mnist_bn"):
        for seed in (0, 1):
            run = planned(f"experiment={network}", f"seed={seed}")
            assert bits(run) == bits(undisturbed(f"experiment={network}", f"seed={seed}"))
            assert f"{run.path.name}: done at step 120; test/accuracy 0." in out
            told = json.loads((run.path / "submitted.json").read_text())
            assert (told["job"], told["job"].startswith(f"{job}_")) == (run.status["job"], True)
            assert run.status["host"] in ("node1", "node2")

    before = snapshot(tmp_path / "runs")
    code, out, err = ended(cluster.train(*sweep))
    assert (code, err) == (0, "")
    assert out.startswith("train.py: sweep of 4 runs, 4 finished before\n")
    assert re.search(r"^train\.py: 4 of 4 finished; next: python \S+runs\.py \S+\n\Z", out, re.MULTILINE)
    assert snapshot(tmp_path / "runs") == before


def test_a_member_that_raises(cluster, ended, typed, planned, undisturbed, bits, until):
    """It is told at once; the others finish; it is run again when asked."""
    sweep = typed("experiment=mnist_bn", "seed=0,1", *LONG)
    bad = planned("experiment=mnist_bn", *LONG)
    bad.path.mkdir(parents=True)
    in_the_way = bad.path / "checkpoints"
    in_the_way.write_text("a file where the folder should be")
    command = cluster.train(*sweep)
    until(lambda: bad.status.get("state") == "failed")
    other = planned("experiment=mnist_bn", "seed=1", *LONG)
    assert other.status.get("state") != "done"
    code, out, err = ended(command)
    assert code == 1
    assert re.search(rf"seed_0: failed at step \d+; {re.escape(str(in_the_way))}: File exists", err)
    assert len(err.splitlines()) == 1
    assert "train.py: 1 of 2 finished, 1 failed, after " in out
    assert bits(other) == bits(undisturbed("experiment=mnist_bn", "seed=1", *LONG))

    in_the_way.unlink()
    code, out, err = ended(cluster.train(*sweep))
    assert code == 1
    assert out.startswith("train.py: sweep of 2 runs, 1 finished before, 1 failed before\n")
    code, out, err = ended(cluster.train(*sweep, "hydra.sweeper.failed=again"))
    assert (code, err) == (0, "")
    assert submitted(out)[0] == 1
    assert bits(bad) == bits(undisturbed("experiment=mnist_bn", *LONG))


def test_killed_cancelled_and_told_to_stop(
    cluster, ended, typed, planned, undisturbed, bits, until, in_the_middle
):
    """Members that SIGKILL and scancel ended go on by the same command, and do without it."""
    sweep = typed("experiment=mnist_bn", "seed=0,1,2", *LONG)
    runs = [planned("experiment=mnist_bn", f"seed={seed}", *LONG) for seed in (0, 1, 2)]
    command = cluster.train(*sweep)
    until(lambda: all(map(in_the_middle, runs)))
    killed, cancelled, _ = runs
    cluster.kill(killed.status["pid"])
    cluster.ask("scancel", cancelled.status["job"])
    code, out, err = ended(command)
    assert code == 1
    assert f"seed_0: job {killed.status['job']} is gone (cancelled, killed, out of memory, or its" in err
    assert re.search(r"seed_1: interrupted at step [\d,]+; SIGTERM.*: the same command resumes it", err)
    assert re.search(
        r"^train\.py: 1 of 3 finished, 1 interrupted, 1 lost, .*; next: the same command$", out, re.M
    )
    assert [run.status["state"] for run in runs] == ["running", "interrupted", "done"]
    assert cancelled.status["job"] not in cluster.queue()  # cancelled stays cancelled

    # The command that goes on with them is stopped, as by Ctrl-C: the jobs are not.
    command = cluster.train(*sweep)
    until(lambda: all(run.status["job"] in cluster.queue() and in_the_middle(run) for run in runs[:2]))
    for pid in cluster.ask("pgrep", "-f", "train.py -m").split():
        cluster.kill(pid, signal.SIGINT)
    code, out, err = ended(command)
    assert code == 130
    job = submitted(out)[1]
    shown = re.findall(r"`(python \S+runs\.py \S+)`", err)[0]
    assert err == (
        f"train.py: 2 members stay in the queue: `{shown}` lists them, "
        f"`scancel {job}` cancels them, the same command waits for them again\n"
    )
    code, out, err = ended(cluster.train(*sweep))
    assert (code, err) == (0, "")
    assert "train.py: 2 of them are already in the queue\n" in out
    assert "submitted as job" not in out
    for seed, run in enumerate(runs):
        assert bits(run) == bits(undisturbed("experiment=mnist_bn", f"seed={seed}", *LONG))
        assert len(starts(run)) == (1 if seed == 2 else 2)  # and nothing was computed twice


def test_code_and_config_that_changed_while_the_job_waited(
    cluster, ended, typed, planned, undisturbed, bits, until
):
    run = planned("experiment=mnist_bn")
    sweep = typed("experiment=mnist_bn")
    urgent = [cluster.preempt(node, seconds=60) for node in ("node1", "node2")]
    until(lambda: [cluster.queue().get(job, ("",))[0] for job in urgent] == ["RUNNING"] * 2)
    command = cluster.train(*sweep)
    until(lambda: submission(run).get("job"))
    told = submission(run)
    told["commit"], told["config"]["optim"]["lr"] = "0" * 40, 0.3
    write_atomically(run.path / "submitted.json", json.dumps(told).encode())
    cluster.ask("scancel", *urgent)
    code, _, err = ended(command)
    assert code == 1
    assert "failed at step 0; changed since it was submitted: the commit (then 0000000000, now " in err
    assert "optim.lr (then 0.3, now 0.1): submit it again; hydra.launcher.changed=run runs it anyway" in err
    assert sorted(path.name for path in run.path.iterdir() if path.name != "submitted.diff") == [
        "status.json", "submitted.json"
    ]  # fmt: skip

    code, _, err = ended(cluster.train(*sweep, "hydra.sweeper.failed=again"))
    assert (code, err) == (0, "")
    assert bits(run) == bits(undisturbed("experiment=mnist_bn"))


def test_what_sbatch_refuses(cluster, ended, typed, planned):
    code, _, err = ended(cluster.train(*typed("experiment=mnist_bn"), "hydra.launcher.partition=nope"))
    assert (code, err) == (1, "train.py: hydra/launcher=slurm: invalid partition specified: nope\n")
    assert list(planned("experiment=mnist_bn").path.iterdir()) == []
