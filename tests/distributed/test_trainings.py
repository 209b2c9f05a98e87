"""Whole training runs in several processes, disturbed in many ways, end with the same bits."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from bn.errors import Interrupted
from bn.files import REPOSITORY
from bn.run.checkpoint import list_checkpoints, load_checkpoint
from tests.conftest import SHORT, has_passed, last_of, run_directory
from tests.distributed.conftest import NETWORK, Started

pytestmark = pytest.mark.slow
LONG = (
    *NETWORK, "steps=45", "evaluate.at.every=20", "probe.at.every=20", "model.dropout=0.2",
    "optim.momentum=0.9",
)  # fmt: skip
FOUR = (
    *NETWORK, "steps=9", "log_every=1", "checkpoint_every=3", "evaluate.at.every=9", "probe.layers=[]",
    "optim.batch=32",
)  # fmt: skip


@pytest.fixture(scope="module")
def undisturbed_ranks(server, tmp_path_factory):
    """The run directory of the same run, trained by `size` ranks without interruption."""
    known = {}

    def run_of(size, overrides):
        if (size, overrides) not in known:
            output = tmp_path_factory.mktemp("undisturbed")
            arguments = last_of(*SHORT, *overrides, f"output={output}")
            codes, texts = Started(server, output / "ranks", size, {"arguments": arguments}).wait()
            assert codes == [0] * size, texts
            known[size, overrides] = run_directory(overrides, output)
        return known[size, overrides]

    return run_of


def test_killed_stopped_and_hanging(start_ranks, typed, planned, until, bits, undisturbed_ranks):
    """Rank 1 is killed, both are stopped, rank 1 hangs; with a checkpoint after almost every step."""
    run, arguments = planned(*LONG), typed(*LONG, "checkpoint_minutes=1e-5")
    ranks = start_ranks(2, arguments)
    until(lambda: has_passed(run, 10))
    (_, killed) = ranks.pids
    ranks.kill(ranks=[1])
    codes, ((_, err), (silent, _)) = ranks.wait()
    assert codes == [1, -signal.SIGKILL]
    reason = run.status["reason"]
    assert (run.status["state"], reason.startswith(f"rank 1 (process {killed} on ")) == ("interrupted", True)
    assert reason.endswith(" is gone")
    (line,) = err.splitlines()
    assert line.endswith(f"/seed_0: {reason}: the same command resumes it")
    assert silent == ""

    ranks = start_ranks(2, arguments)
    until(lambda: has_passed(run, 20))
    ranks.kill(signal.SIGTERM)
    codes, ((out, _), others) = ranks.wait()
    assert codes == [128 + signal.SIGTERM, 0]
    assert (run.status["state"], run.status["reason"]) == ("interrupted", "SIGTERM")
    assert f"interrupted at step {run.status['step']}; SIGTERM" in out.splitlines()[-1]
    assert others == ("", "")
    assert run.status["step"] == load_checkpoint(list_checkpoints(run.checkpoints)[-1])["step"]

    ranks = start_ranks(2, [*arguments, "rank_timeout_s=3"])
    until(lambda: has_passed(run, 30))
    (first, hangs) = ranks.pids
    os.kill(hangs, signal.SIGSTOP)
    until(lambda: run.status["state"] == "interrupted")
    assert run.status["reason"].startswith(f"rank 1 (process {hangs} on ")
    until(lambda: not os.path.exists(f"/proc/{first}/fd/0"))
    ranks.kill(ranks=[1])
    codes, ((_, err), _) = ranks.wait()
    assert codes == [1, -signal.SIGKILL]
    (line,) = err.splitlines()
    assert line.endswith(" did not respond for 3 s (rank_timeout_s): the same command resumes it")

    codes, _ = start_ranks(2, arguments).wait()
    assert codes == [0, 0]
    assert bits(run) == bits(undisturbed_ranks(2, LONG))
    env = json.loads((run.path / "env.json").read_text())
    assert [start["device"]["processes"] for start in (env, *env["resumed"])] == [2] * 4


def test_rank_0_is_killed(start_ranks, typed, planned, until):
    run = planned(*LONG)
    ranks = start_ranks(2, typed(*LONG))
    until(lambda: has_passed(run, 10))
    (killed, _) = ranks.pids
    ranks.kill(ranks=[0])
    codes, (_, (_, err)) = ranks.wait()
    assert codes == [-signal.SIGKILL, 1]
    (line,) = err.splitlines()
    assert f"/seed_0: rank 0 (process {killed} on " in line
    assert line.endswith(" is gone: the same command resumes it")
    assert run.status["state"] == "running"  # no process is left to update it


def test_four_ranks_resume_exactly(start_ranks, typed, planned, until, bits, undisturbed_ranks):
    """After a resume, DistributedDataParallel's buckets are those of a first step again."""
    run, arguments = planned(*FOUR), typed(*FOUR)
    ranks = start_ranks(4, arguments)
    until(lambda: has_passed(run, 3))
    ranks.kill()
    ranks.wait()
    codes, texts = start_ranks(4, arguments).wait()
    assert codes == [0] * 4, texts
    assert bits(run) == bits(undisturbed_ranks(4, FOUR))


def test_another_number_of_processes_resumes_and_reports_what_is_not_exact(
    start_ranks, typed, planned, trained, stop_after, until, capsys
):
    """2, then 1, then 2 again."""
    overrides = (*NETWORK, "model.norm=batch", "model.dropout=0.1")
    run = planned(*overrides)
    ranks = start_ranks(2, typed(*overrides))
    until(lambda: has_passed(run, 10))
    ranks.kill(signal.SIGTERM)
    ranks.wait()
    with pytest.raises(Interrupted):
        trained(*overrides, stop_signal=stop_after(2))
    assert (
        "resumed by 1 process instead of 2, so results are not bit-exact: sums over processes are rounded "
        "differently; 16 examples are normalized together instead of 8; each process starts from the mean of "
        "the moving averages; dropout draws different numbers" in capsys.readouterr().err
    )
    codes, ((_, err), _) = start_ranks(2, typed(*overrides)).wait()
    assert codes == [0, 0]
    assert "resumed by 2 processes instead of 1, so results are not bit-exact" in err
    assert run.status["state"] == "done"


def test_a_rank_that_raises_fails_the_run_with_its_reason(start_ranks, typed, planned):
    run = planned(*NETWORK)
    codes, ((out, err), (_, its_err)) = start_ranks(2, typed(*NETWORK), trouble=["raise", 1, 7]).wait()
    assert codes == [1, 1]
    assert run.status["state"] == "failed"
    assert run.status["reason"].startswith("rank 1 (process ")
    assert run.status["reason"].endswith("): a disk is broken")
    for said, reason in ((err, run.status["reason"]), (its_err, "a disk is broken")):
        (line,) = said.splitlines()
        assert line.endswith(f"/seed_0: {reason}")
    assert len(out.splitlines()) == 6  # its first lines


@pytest.mark.parametrize("rank", [0, 1])
def test_a_rank_that_runs_out_of_memory_counts_as_killed(start_ranks, typed, planned, rank):
    run = planned(*NETWORK)
    ranks = start_ranks(2, typed(*NETWORK), trouble=["allocate", rank, 7])
    pids = ranks.pids
    codes, texts = ranks.wait()
    assert codes == [1, 1]
    assert run.status["state"] == "interrupted"
    assert rank == 0 or run.status["reason"].startswith(f"rank 1 (process {pids[1]} on ")
    asked = "out of memory (can't allocate memory: you tried to allocate 4503599627370496 bytes"
    assert asked in run.status["reason"]
    for _, err in texts:
        assert "Traceback" not in err
        assert err.count("\n") <= 1
    assert any(err.endswith(": the same command resumes it\n") for _, err in texts)


def test_a_hanging_rank_ends_the_training(start_ranks, typed, planned):
    """Its process is alive; its stderr shows where the main thread is stuck."""
    overrides = (*NETWORK, "optim.batch=24")
    run = planned(*overrides)
    ranks = start_ranks(3, typed(*overrides, "rank_timeout_s=4"), trouble=["stand still", 1, 7])
    (_, stuck, _) = ranks.pids
    codes, ((_, err), (_, its_err), (_, silent)) = ranks.wait()
    assert codes == [1, 1, 1]
    assert run.status["state"] == "interrupted"
    assert run.status["reason"].startswith(f"rank 1 (process {stuck} on ")
    assert run.status["reason"].endswith(") did not respond for 4 s (rank_timeout_s)")
    (line,) = err.splitlines()
    assert line.endswith(f"/seed_0: {run.status['reason']}: the same command resumes it")
    assert "in troubled" in its_err
    assert silent == ""


def test_rank_0_hangs(start_ranks, typed, planned):
    """The other ranks report it, and rank 0 records it."""
    run = planned(*NETWORK)
    ranks = start_ranks(2, typed(*NETWORK, "rank_timeout_s=3"), trouble=["stand still", 0, 7])
    (stuck, _) = ranks.pids
    codes, ((_, its_err), (_, err)) = ranks.wait()
    assert codes == [1, 1]
    assert run.status["state"] == "interrupted"
    assert run.status["reason"].startswith(f"rank 0 (process {stuck} on ")
    assert run.status["reason"].endswith(") did not respond for 3 s (rank_timeout_s)")
    assert "in troubled" in its_err
    (line,) = err.splitlines()
    assert line.endswith(f"/seed_0: {run.status['reason']}: the same command resumes it")


def test_a_rank_is_killed_while_the_others_are_stuck(start_ranks, typed, planned, until):
    """For instance while they wait for a GPU: it is recorded within seconds nevertheless."""
    run = planned(*NETWORK)
    ranks = start_ranks(2, typed(*NETWORK), trouble=["stand still", 0, 7])
    (_, killed) = ranks.pids
    until(lambda: run.status.get("state") == "running")
    ranks.kill(ranks=[1])
    codes, ((_, err), _) = ranks.wait()
    assert codes == [1, -signal.SIGKILL]
    assert run.status["state"] == "interrupted"
    assert run.status["reason"].startswith(f"rank 1 (process {killed} on ")
    assert err.endswith(f"/seed_0: {run.status['reason']}: the same command resumes it\n")


def test_a_rank_that_never_starts(start_ranks, typed, planned):
    run = planned(*NETWORK)
    codes, ((_, err),) = start_ranks(2, typed(*NETWORK, "rank_timeout_s=1"), only=[0]).wait()
    assert codes == [1]
    assert run.status["state"] == "interrupted"
    assert run.status["reason"] == "rank 1 did not respond within 1 s (rank_timeout_s)"
    (line,) = err.splitlines()
    assert line.endswith(f"/seed_0: {run.status['reason']}: the same command resumes it")


def test_stopped_before_all_ranks_have_started(start_ranks, typed, planned, until):
    run = planned(*NETWORK)
    ranks = start_ranks(2, typed(*NETWORK), only=[0])
    until(lambda: (run.path / "config.yaml").exists())
    ranks.kill(signal.SIGTERM)
    codes, _ = ranks.wait()
    assert codes == [1]
    assert re.fullmatch("stopped while waiting for (rank 1|torchrun's store at .*)", run.status["reason"])


@pytest.fixture
def torchrun(tmp_path):
    """Start torchrun itself with two ranks."""
    started = []

    def start(arguments):
        environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
        environment = {**environment, "PYTHONPATH": str(REPOSITORY), "TORCH_CPP_LOG_LEVEL": "ERROR"}
        started.append(subprocess.Popen(
            [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--rdzv-backend=c10d",
             "--rdzv-endpoint=localhost:0", str(REPOSITORY / "train.py"), *arguments],
            cwd=tmp_path, env=environment, start_new_session=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        ))  # fmt: skip
        return started[-1]

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()  # the ranks end with it
            process.communicate()


def test_torchrun_is_stopped(torchrun, start_ranks, typed, planned, until, bits, undisturbed_ranks):
    """It forwards SIGTERM; the same training resumes bit-exactly."""
    run, arguments = planned(*LONG), typed(*LONG)
    process = torchrun(arguments)
    until(lambda: has_passed(run, 10), 60)
    process.terminate()
    out, _ = process.communicate(timeout=60)
    assert process.returncode != 0
    assert (run.status["state"], run.status["reason"]) == ("interrupted", "SIGTERM")
    assert out.count("train.py: ") == out.count("-> ") == 1  # only rank 0 prints its start and end
    codes, ((out, _), _) = start_ranks(2, arguments).wait()
    assert codes == [0, 0]
    assert " from step " in out
    assert bits(run) == bits(undisturbed_ranks(2, LONG))


def test_torchrun_and_the_run_directory_name_a_killed_rank(torchrun, typed, planned, until):
    overrides = (*LONG, "steps=4000")
    run = planned(*overrides)
    process = torchrun(typed(*overrides))
    until(lambda: has_passed(run, 10), 60)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    (killed,) = [int(pid) for pid in children if int(pid) != run.status["pid"]]
    assert b"\0RANK=1\0" in Path(f"/proc/{killed}/environ").read_bytes()
    os.kill(killed, signal.SIGKILL)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 1
    assert run.status["state"] == "interrupted"
    assert run.status["reason"].startswith(f"rank 1 (process {killed} on ")
    (line,) = [line for line in err.splitlines() if line.startswith("train.py: ")]
    assert line.endswith(f"{run.status['reason']}: the same command resumes it")
    _, _, root = err.partition("Root Cause (first observed failure):")
    assert f"exitcode  : -9 (pid: {killed})" in root


def test_a_wrong_key_is_reported_once(torchrun):
    process = torchrun(["experiment=bn_x5", "scale=smoke", "optim.rate=1"])
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    (line,) = [line for line in err.splitlines() if line.startswith("train.py: ")]
    assert line.startswith("train.py: optim.rate: unknown key; accepted: ")


def test_a_rank_that_is_refused_ends_all(torchrun, typed, planned, until):
    """Only rank 0 finds the run directory locked; the others wait for it and receive torchrun's SIGTERM."""
    run = planned(*NETWORK)
    run.open()
    try:
        process = torchrun(typed(*NETWORK))
        _, err = process.communicate(timeout=60)
    finally:
        run.close()
    assert process.returncode == 1
    (line,) = [line for line in err.splitlines() if line.startswith("train.py: ")]
    assert "/seed_0: in use by process " in line
    assert run.status == {}
