"""The throwaway cluster is a SLURM as clusters have it, and leaves nothing behind."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bn.files import REPOSITORY
from scripts.slurm import throwaway_cluster

SCRIPT = REPOSITORY / "scripts" / "slurm" / "throwaway_cluster.py"


def submit(cluster, script, *options):
    """A job of this shell script; its id."""
    return cluster.ask("sbatch", "--parsable", "--output=/dev/null", *options, "--wrap", script)


def test_two_nodes_with_addresses_of_their_own(cluster):
    said = cluster.ask("srun", "--quiet", "--nodes=2", "sh", "-c", "echo $(hostname) $(hostname -I)")
    assert sorted(said.splitlines()) == ["node1 10.77.0.11", "node2 10.77.0.12"]
    meet = "import socket; socket.create_connection(('node2', 6818), 5).close(); print('met')"  # slurmd
    assert cluster.ask("srun", "--quiet", "--nodelist=node1", sys.executable, "-c", meet) == "met"


@pytest.mark.parametrize(("script", "ended"), [
    ("true", "COMPLETED|0:0"), ("exit 3", "FAILED|3:0"), ("kill -KILL $$", "FAILED|0:9"),
])  # fmt: skip
def test_accounting_knows_how_a_job_ended(cluster, until, script, ended):
    job = submit(cluster, script)
    until(lambda: cluster.ask("sacct", "-X", "-n", "-P", "-j", job, "-o", "State,ExitCode") == ended)


def test_a_request_for_gpus_that_are_taken_waits_for_them(cluster, until, tmp_path):
    def job(gpus):
        told = f"echo $SLURM_JOB_GPUS $CUDA_VISIBLE_DEVICES > {tmp_path}/$SLURM_JOB_ID"
        wait = f"until [ -e {tmp_path}/go ]; do sleep 0.1; done"
        return submit(cluster, f"{told}; {wait}", f"--gres=gpu:{gpus}", "--nodelist=node1")

    first, second = job(1), job(1)
    until(lambda: [cluster.queue()[one][0] for one in (first, second)] == ["RUNNING"] * 2)
    third = job(2)
    until(lambda: cluster.queue()[third] == ("PENDING", "Resources"))
    (tmp_path / "go").touch()
    until(lambda: not cluster.queue())
    assert sorted((tmp_path / one).read_text() for one in (first, second)) == ["0 0\n", "1 1\n"]
    assert (tmp_path / third).read_text() == "0,1 0,1\n"


@pytest.fixture
def grace(cluster):
    """How long preempted jobs are given."""

    def give(seconds):
        cluster.ask("scontrol", "update", "PartitionName=test", f"GraceTime={seconds}")

    yield give
    give(10)


def test_preemption_puts_a_job_back_into_the_queue(cluster, until, grace, tmp_path):
    grace(0)
    script = f'echo start >> {tmp_path}/said; [ -n "$SLURM_RESTART_COUNT" ] || srun sleep 100'
    job = submit(cluster, script, "--nodelist=node2")
    until((tmp_path / "said").exists)
    urgent = cluster.preempt("node2", seconds=0)
    until(lambda: urgent not in cluster.queue())
    assert job in cluster.queue()
    until(lambda: job not in cluster.queue())
    assert (tmp_path / "said").read_text() == "start\nstart\n"


def test_preemption_gives_a_job_its_grace_time(cluster, until, grace, tmp_path):
    """Its steps get SIGTERM first, and where it ends by itself SLURM leaves it at that."""
    grace(60)
    step = tmp_path / "step"
    step.write_text(f"""
        trap 'squeue --noheader --job=$SLURM_JOB_ID --format=%T > {tmp_path}/state; exit 0' TERM
        touch {tmp_path}/started
        while true; do sleep 0.1; done
    """)
    job = submit(cluster, f"srun sh {step}", "--nodelist=node2")
    until((tmp_path / "started").exists)
    urgent = cluster.preempt("node2", seconds=0)
    until(lambda: urgent not in cluster.queue())
    assert job not in cluster.queue()
    assert (tmp_path / "state").read_text() in ("RUNNING\n", "SIGNALING\n")  # SIGNALING while it is sent


def namespaces(process):
    """Those of a process that a cluster has of its own; none where it is gone."""
    try:
        return {os.readlink(f"/proc/{process}/ns/{name}") for name in ("pid", "net", "mnt", "uts")}
    except OSError:
        return set()


def everywhere():
    return [namespaces(process.name) for process in Path("/proc").glob("[0-9]*")]


@pytest.mark.parametrize("end", ["the end of its command", "SIGTERM", "SIGKILL"])
def test_nothing_is_left(end, tmp_path):
    places = ("/etc/slurm", "/run", "/var/lib", tmp_path)
    before = Path("/proc/self/mounts").read_text(), [sorted(os.listdir(place)) for place in places]
    process = subprocess.Popen(
        [sys.executable, str(SCRIPT), "--no-accounting", "sh", "-c",
         "sbatch -Q -o /dev/null --wrap 'srun sleep 600'; setsid sleep 600 > /dev/null & echo up; exec cat"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )  # fmt: skip
    with process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        [first] = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        [its] = [link for link in namespaces(first) if link.startswith("pid:")]
        inside = [found for found in everywhere() if its in found]
        assert len(inside) >= 7  # the first, munged, slurmctld, two slurmd, sleep, cat
        made = set().union(*inside) - namespaces("self")
        if end == "the end of its command":
            process.stdin.close()
        else:
            process.send_signal(getattr(signal, end))
        assert process.wait(10) == {"the end of its command": 0, "SIGTERM": 143, "SIGKILL": -9}[end]
    deadline = time.monotonic() + 10
    while any(found & made for found in everywhere()) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(found & made for found in everywhere())
    assert before == (Path("/proc/self/mounts").read_text(), [sorted(os.listdir(place)) for place in places])


def test_its_exit_code_is_the_commands():
    done = subprocess.run([sys.executable, str(SCRIPT), "--no-accounting", "sh", "-c", "exit 7"], timeout=60)
    assert done.returncode == 7


def test_a_daemon_that_does_not_start_is_reported_on_one_line():
    command = [sys.executable, str(SCRIPT), "--no-accounting", "--nodes=0", "true"]
    done = subprocess.run(command, timeout=60, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")
    start = r"throwaway_cluster\.py: slurmctld did not start: "
    assert re.fullmatch(start + r"[^?\n]*no nodes configured[^?\n]* fatal: [^?\n]*\n", done.stderr)


def test_without_slurm_it_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr(throwaway_cluster.shutil, "which", lambda *_, **__: None)
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), "true"])
    with pytest.raises(SystemExit) as stop:
        throwaway_cluster.main()
    assert str(stop.value).startswith("throwaway_cluster.py: SLURM is not installed (slurmctld, ")
    assert "apt-get install slurm-wlm && apt-get install --no-install-recommends" in str(stop.value)
