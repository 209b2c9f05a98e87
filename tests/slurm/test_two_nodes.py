"""One training by two nodes of two processes each: by the launcher, and by the job script."""

import sys

import pytest

from bn.run.checkpoint import list_checkpoints, load_checkpoint
from bn.run.directory import REPOSITORY
from tests.conftest import SHORT
from tests.distributed.conftest import NETWORK
from tests.slurm.conftest import starts

FOUR = (
    *NETWORK,
    "optim.batch=32",
    "steps=80",
    "checkpoint_every=5",
    "evaluate.at.every=40",
    "probe.at.every=40",
)
PROCESSES = (
    "hydra.launcher.nodes=2", "hydra.launcher.tasks_per_node=2", "hydra.launcher.mem_gb=3",
)  # fmt: skip


@pytest.fixture(scope="module")
def in_one_go(cluster, tmp_path_factory):
    """The same training by four processes of one machine that nobody disturbs."""
    output = tmp_path_factory.mktemp("undisturbed")
    code, _, err = cluster.run(
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=4",
        REPOSITORY / "train.py", *SHORT, *FOUR, f"output={output}",
    )  # fmt: skip
    assert code == 0, err
    return next(output.glob("bn_x5/*/seed_0"))


def test_by_the_launcher(cluster, ended, typed, planned, until, bits, in_the_middle, in_one_go):
    """One process is killed; all end, rank 0 says which it was, and the same command goes on."""
    sweep = typed(*FOUR)
    run = planned(*FOUR)
    command = cluster.train(*sweep, *PROCESSES)
    until(lambda: in_the_middle(run))
    job = run.status["job"]
    first = cluster.ask("scontrol", "show", "job", job)
    assert "NumNodes=2 " in first
    others = cluster.ask("pgrep", "-f", "submitit.core._submit").split()
    victim = next(pid for pid in reversed(others) if int(pid) != run.status["pid"])
    cluster.kill(victim)
    code, _, err = ended(command)
    assert code == 1
    status = run.status
    assert (status["state"], "rank " in status["reason"]) == ("interrupted", True)
    assert f"(process {victim} on node" in status["reason"]
    assert status["reason"] in err

    code, _, err = ended(cluster.train(*sweep, *PROCESSES))
    assert (code, err) == (0, "")
    assert len(starts(run)) == 2
    assert starts(run)[1] > 0
    assert bits(run) == bits(in_one_go)


def test_by_the_job_script(cluster, typed, planned, until, bits, in_the_middle, in_one_go):
    """Told to stop, as before a time limit, the processes save together and the job comes back by itself."""
    run = planned(*FOUR)
    job = cluster.ask(
        "sbatch", "--parsable", "--nodes=2", "--ntasks-per-node=2", "--gpus-per-node=0", "--cpus-per-task=1",
        "--mem=3G", "--time=30", f"--chdir={REPOSITORY}", f"--output={run.path.parents[2]}.log",
        REPOSITORY / "scripts" / "slurm" / "train.sbatch", *typed(*FOUR),
    )  # fmt: skip
    until(lambda: in_the_middle(run))
    cluster.ask("scancel", "--signal=USR2", job)
    until(lambda: "back in the queue as job" in (run.status.get("reason") or ""))
    saved = run.status["step"]
    last = load_checkpoint(list_checkpoints(run.checkpoints)[-1])
    assert last["step"] == saved
    assert len(last["ranks"]["losses"]) == 4
    until(lambda: run.finished, timeout=120)
    assert (run.status["state"], run.status["job"]) == ("done", job)
    assert starts(run) == [0, saved]
    assert bits(run) == bits(in_one_go)
