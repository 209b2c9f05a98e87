"""Six runs of Figure 1, each stopped in any way at any moment, until all are done: the same table."""

import random
import sys
import time

from bn.files import REPOSITORY
from experiments import figure1
from tests.integration.slurm.conftest import starts

LENGTH = (
    "steps=5000",
    "checkpoint_every=500",
    "evaluate.at.every=1000",
    "log_every=200",
    "probe.at.every=2000",
)
DISTURBED = 3  # times in each way; then they are left in peace
WAYS = ("killed", "preempted", "signalled")
SEED = 0


def test_six_members_disturbed_at_random(cluster, typed, planned, until, tmp_path):
    draws = random.Random(SEED)
    members = [
        (f"experiment={network}", f"seed={seed}")
        for network in ("mnist_baseline", "mnist_bn")
        for seed in range(3)
    ]
    runs = [planned(*member, *LENGTH) for member in members]
    done = dict.fromkeys((*WAYS, "commands"), 0)

    def disturb():
        running = [run for run in runs if run.status.get("state") == "running"]
        jobs = cluster.queue()
        running = [run for run in running if jobs.get(run.status["job"], ("",))[0] == "RUNNING"]
        if not running:
            return
        run = draws.choice(running)
        what = min(WAYS, key=lambda what: (done[what], draws.random()))
        if what == "killed":
            cluster.kill(run.status["pid"])
        elif what == "preempted":
            cluster.preempt(run.status["host"])
        else:  # as before a time limit, whose own moments test_interruptions.py waits for
            cluster.run("scancel", "--signal=USR2", run.status["job"])
        done[what] += 1

    began = time.monotonic()
    while not all(run.finished for run in runs):
        assert time.monotonic() - began < 400
        command = cluster.train(*typed("sweep=figure1", "seed=0,1,2", *LENGTH))
        done["commands"] += 1
        while command.poll() is None:
            time.sleep(draws.uniform(1, 3))
            if min(done[way] for way in WAYS) < DISTURBED:
                disturb()
        out, err = command.communicate()
        assert command.returncode in (0, 1), (out, err)
        assert "failed" not in err
    again = sum(len(starts(run)) - 1 for run in runs)
    print(f"{done}; {again} starts from a checkpoint or anew")
    assert min(done.values()) >= 1
    assert again >= 3

    undisturbed = tmp_path / "undisturbed"
    command = (
        sys.executable,
        REPOSITORY / "train.py",
        *typed("sweep=figure1", "seed=0,1,2", *LENGTH, output=undisturbed),
    )
    code, _, err = cluster.run(*command)
    assert (code, err) == (0, "")
    others = [planned(*member, *LENGTH, output=undisturbed) for member in members]
    figure1.collect(runs, tmp_path / "a")
    figure1.collect(others, tmp_path / "b")
    for table in ("accuracy.csv", "final.csv", "percentiles.csv"):
        assert (tmp_path / "a" / table).read_bytes() == (tmp_path / "b" / table).read_bytes()
        assert len((tmp_path / "a" / table).read_text().splitlines()) > len(runs)
