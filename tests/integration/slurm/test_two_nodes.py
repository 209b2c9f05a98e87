"""One training by two nodes of two processes each, by the job script."""

import re
import sys

import pytest

from bn.files import REPOSITORY
from bn.run.checkpoint import list_checkpoints, load_checkpoint
from tests.conftest import SHORT, last_of
from tests.distributed.conftest import NETWORK
from tests.integration.slurm.conftest import starts

FOUR = (
    *NETWORK,
    "optim.batch=32",
    "steps=80",
    "checkpoint_every=5",
    "evaluate.at.every=40",
    "probe.at.every=40",
)


@pytest.fixture(scope="module")
def in_one_go(cluster, tmp_path_factory):
    """The same training by four processes of one machine that nobody disturbs."""
    output = tmp_path_factory.mktemp("undisturbed")
    code, _, err = cluster.run(
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=4",
        REPOSITORY / "train.py", *last_of(*SHORT, *FOUR), f"output={output}",
    )  # fmt: skip
    assert code == 0, err
    return next(output.glob("bn_x5/*/seed_0"))


@pytest.fixture
def submit(cluster, typed, planned):
    """The job script as a job; its id and its log."""

    def start():
        log = planned(*FOUR).path.parents[2] / "job.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        job = cluster.ask(
            "env", "PROCESSES_PER_NODE=2", "sbatch", "--parsable", "--nodes=2", "--gpus-per-node=0",
            "--cpus-per-task=2", "--mem=3G", "--time=30", f"--chdir={REPOSITORY}", f"--output={log}",
            "--export=ALL", REPOSITORY / "scripts" / "slurm" / "train.sbatch", *typed(*FOUR),
        )  # fmt: skip
        return job, log

    return start


def test_a_process_is_killed(cluster, submit, planned, until, bits, in_the_middle, in_one_go):
    """On the other node than rank 0: all end, the run says which it was, and the same command resumes it."""
    run = planned(*FOUR)
    job, log = submit()
    until(lambda: in_the_middle(run), timeout=400)
    found = cluster.ask("sh", "-c", "grep -lz '^RANK=3$' /proc/[0-9]*/environ 2> /dev/null || true")
    victim = min(int(path.split("/")[2]) for path in found.split())  # the others are its own
    cluster.kill(victim)
    until(lambda: job not in cluster.queue(), timeout=300)
    status = run.status
    assert status["state"] == "interrupted"
    assert re.fullmatch(rf"rank 3 \(process {victim} on node\d\) is gone", status["reason"])
    assert status["reason"] in log.read_text()

    submit()
    until(lambda: run.finished, timeout=400)
    assert len(starts(run)) == 2
    assert starts(run)[1] > 0
    assert bits(run) == bits(in_one_go)


def test_told_to_stop(cluster, submit, planned, until, bits, in_the_middle, in_one_go):
    """As before a time limit, the processes save together and the job comes back by itself."""
    run = planned(*FOUR)
    job, _ = submit()
    until(lambda: in_the_middle(run), timeout=400)
    cluster.ask("scancel", "--signal=USR2", job)
    until(lambda: "requeued as job" in (run.status.get("reason") or ""))
    saved = run.status["step"]
    last = load_checkpoint(list_checkpoints(run.checkpoints)[-1])
    assert last["step"] == saved
    assert len(last["ranks"]["losses"]) == 4
    until(lambda: run.finished, timeout=240)
    assert (run.status["state"], run.status["job"]) == ("done", job)
    assert starts(run) == [0, saved]
    assert bits(run) == bits(in_one_go)
