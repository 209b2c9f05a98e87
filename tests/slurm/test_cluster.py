"""The throwaway SLURM itself: what the tests of sweeps rely on is real, and nothing of it is left."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bn.records import REPOSITORY

pytestmark = pytest.mark.slurm


def test_two_nodes_with_addresses_of_their_own(cluster):
    code, out, _ = cluster.run("srun", "--nodes=2", "sh", "-c", "echo $(hostname) $(hostname -I)")
    assert (code, sorted(out.splitlines())) == (0, ["node1 10.77.0.11", "node2 10.77.0.12"])


def test_a_killed_job_is_failed_in_the_accounts(cluster):
    plain, killed = cluster.submit("true"), cluster.submit("kill -KILL $$")

    def accounts():
        return {job["JobID"]: (job["State"], job["ExitCode"]) for job in cluster.sacct(f"-j{plain},{killed}")}

    cluster.until(lambda: accounts() == {plain: ("COMPLETED", "0:0"), killed: ("FAILED", "0:9")})


def test_jobs_queue_for_gpus_and_share_none(cluster, tmp_path):
    script = "echo $(hostname) $SLURM_JOB_GPUS $CUDA_VISIBLE_DEVICES; until [ -e go ]; do sleep 0.1; done"
    jobs = [cluster.submit(script, "--gres=gpu:1", f"--output={tmp_path}/%j") for _ in range(5)]
    *first, last = jobs
    cluster.until(lambda: all((tmp_path / job).exists() and (tmp_path / job).read_text() for job in first))
    cluster.until(lambda: cluster.jobs()[last]["Reason"] == "Resources")
    assert cluster.state(last) == "PENDING"
    (tmp_path / "go").touch()
    cluster.until(lambda: not cluster.squeue())
    given = [tuple((tmp_path / job).read_text().split()) for job in jobs]
    assert sorted(given[:4]) == [(f"node{node}", gpu, gpu) for node in (1, 2) for gpu in ("0", "1")]
    assert given[4] in given[:4]
    assert {cluster.state(job) for job in jobs} == {"COMPLETED"}


def test_urgent_jobs_preempt_the_default_ones_which_are_requeued(cluster, tmp_path):
    cluster.grace(0)
    script = f'echo start >> {tmp_path}/said; [ -n "$SLURM_RESTART_COUNT" ] || srun sleep 100'
    job = cluster.submit(script, "--nodelist=node1")
    cluster.until(lambda: (tmp_path / "said").exists())
    urgent = cluster.submit("true", "--partition=urgent", "--nodelist=node1", "--exclusive")
    cluster.until(lambda: cluster.state(urgent) == "COMPLETED")
    assert cluster.state(job) in ("COMPLETING", "PENDING")
    cluster.until(lambda: cluster.start_requeued_now() or cluster.state(job) == "COMPLETED")
    assert cluster.jobs()[job]["Restarts"] == "1"
    assert (tmp_path / "said").read_text() == "start\nstart\n"


def test_the_steps_of_preempted_jobs_get_sigterm_and_a_grace_time(cluster, tmp_path):
    cluster.grace(60)
    (tmp_path / "step").write_text(f"""
        trap 'squeue --noheader --job=$SLURM_JOB_ID --format=%T > {tmp_path}/state; exit 0' TERM
        touch {tmp_path}/started
        while true; do sleep 0.1; done
    """)
    job = cluster.submit(f"srun sh {tmp_path}/step", "--nodelist=node1")
    cluster.until((tmp_path / "started").exists)
    urgent = cluster.submit("true", "--partition=urgent", "--nodelist=node1", "--exclusive")
    cluster.until(lambda: cluster.state(urgent) == "COMPLETED")
    assert (tmp_path / "state").read_text() == "RUNNING\n"
    assert cluster.state(job) == "COMPLETED"  # it ended by itself, so SLURM does not requeue it


def namespaces(process):
    """The namespaces of a process that a cluster has of its own; none where it is gone."""
    names = ("pid", "net", "mnt", "uts")
    try:
        return {os.readlink(f"/proc/{process}/ns/{name}") for name in names}
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return set()


def everywhere():
    return {process.name: namespaces(process.name) for process in Path("/proc").glob("[0-9]*")}


@pytest.mark.parametrize("end", ["its command ends", "SIGTERM", "SIGKILL"])
def test_nothing_is_left_however_it_ends(end, tmp_path):
    ours = namespaces("self")
    places = [Path(place) for place in ("/etc/slurm", "/run", "/var/lib/slurm", "/dev/shm", tmp_path)]
    before = {place: sorted(os.listdir(place)) for place in places}, Path("/proc/self/mounts").read_text()
    script = subprocess.Popen(
        [sys.executable, REPOSITORY / "scripts/slurm/throwaway_cluster.py", "sh", "-c",
         "sbatch -Q -o /dev/null --wrap 'srun sleep 1000'; setsid sleep 1000 > /dev/null & echo; exec cat"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=os.environ | {"TMPDIR": str(tmp_path)},
    )  # fmt: skip
    with script:
        assert script.stdin is not None
        assert script.stdout is not None
        script.stdout.readline()
        [inside] = Path(f"/proc/{script.pid}/task/{script.pid}/children").read_text().split()
        [its] = namespaces(inside) & {link for link in namespaces(inside) if link.startswith("pid:")}
        of_it = [found for found in everywhere().values() if its in found]
        assert len(of_it) > 8  # munged, mariadbd, slurmdbd, slurmctld, its helper, two slurmd, ...
        created = set().union(*of_it) - ours
        if end == "its command ends":
            script.stdin.close()
        else:
            script.send_signal(getattr(signal, end))
        code = script.wait(timeout=10)
    assert code == {"its command ends": 0, "SIGTERM": 143, "SIGKILL": -9}[end]
    deadline = time.monotonic() + 10
    while (
        left := [pid for pid, found in everywhere().items() if found & created]
    ) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not left
    assert before == (
        {place: sorted(os.listdir(place)) for place in places}, Path("/proc/self/mounts").read_text()
    )  # fmt: skip
