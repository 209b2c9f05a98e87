"""The throwaway cluster is a SLURM as clusters have it, and leaves nothing behind."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bn.records import REPOSITORY

SCRIPT = REPOSITORY / "scripts" / "slurm" / "throwaway_cluster.py"


def test_two_nodes_with_addresses_of_their_own(cluster):
    assert cluster.ask("srun", "--nodes=2", "hostname").split() in (["node1", "node2"], ["node2", "node1"])
    addresses = cluster.ask("srun", "--nodes=2", "ip", "-4", "-o", "address", "show", "dev", "eth0")
    assert {line.split()[3] for line in addresses.splitlines()} == {"10.77.0.11/24", "10.77.0.12/24"}
    meet = "import socket; socket.create_connection(('node2', 6818), 5).close(); print('met')"  # slurmd
    assert cluster.ask("srun", "--nodelist=node1", sys.executable, "-c", meet) == "met"


def test_accounting_knows_how_a_job_ended(cluster, until):
    job = cluster.ask("sbatch", "--parsable", "--output=/dev/null", "--wrap", "exit 3")

    def account():
        return cluster.ask("sacct", "-X", "-n", "-P", "-j", job, "-o", "State,ExitCode")

    assert until(lambda: account() if "3:0" in account() else None) == "FAILED|3:0"


def test_a_request_for_gpus_that_are_taken_waits_for_them(cluster, until, tmp_path):
    def submit(gpus, seconds):
        script = f"srun sh -c 'echo $CUDA_VISIBLE_DEVICES; sleep {seconds}'"
        return cluster.ask(
            "sbatch", "--parsable", f"--gres=gpu:{gpus}", "--nodelist=node1", "--cpus-per-task=1",
            f"--output={tmp_path}/%j", "--wrap", script,
        )  # fmt: skip

    first, second = submit(1, 4), submit(1, 4)
    until(lambda: [cluster.queue().get(job, ("",))[0] for job in (first, second)] == ["RUNNING"] * 2)
    third = submit(2, 0)
    assert until(lambda: cluster.queue()[third] if cluster.queue()[third][1] == "Resources" else None)
    until(lambda: third not in cluster.queue())
    taken = [(tmp_path / job).read_text().strip() for job in (first, second, third)]
    assert sorted(taken[:2]) == ["0", "1"]
    assert taken[2] == "0,1"


def test_preemption_puts_a_job_back_into_the_queue(cluster, until):
    cluster.hurry = False
    try:
        job = cluster.ask(
            "sbatch", "--parsable", "--requeue", "--cpus-per-task=4", "--nodelist=node2",
            "--output=/dev/null", "--wrap", "sleep 60",
        )  # fmt: skip
        until(lambda: cluster.queue().get(job, ("",))[0] == "RUNNING")
        urgent = cluster.preempt("node2")
        until(lambda: cluster.queue().get(job) == ("PENDING", "BeginTime"))
        until(lambda: urgent not in cluster.queue())
        cluster.ask("scancel", job)
    finally:
        cluster.hurry = True


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_nothing_is_left(number, tmp_path):
    process = subprocess.Popen(
        [sys.executable, str(SCRIPT), "--no-accounting", "sh", "-c", "echo up; sleep 600"],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    (folder,) = tmp_path.iterdir()

    def of_it():
        """Processes that name its folder: all services do, or run with its configuration."""
        found = []
        for pid in filter(str.isdecimal, os.listdir("/proc")):
            try:
                known = Path(f"/proc/{pid}/environ").read_bytes() + Path(f"/proc/{pid}/cmdline").read_bytes()
            except OSError:
                continue
            if str(folder).encode() in known:
                found.append(pid)
        return found

    assert len(of_it()) >= 4
    process.send_signal(number)
    process.wait(20)
    process.stdout.close()
    end = time.monotonic() + 10
    while of_it() and time.monotonic() < end:
        time.sleep(0.05)
    assert of_it() == []
    assert str(folder) not in Path("/proc/mounts").read_text()
    if number == signal.SIGTERM:
        assert list(tmp_path.iterdir()) == []
    else:  # a folder cannot go by itself; the next cluster removes it
        again = subprocess.run(
            [sys.executable, str(SCRIPT), "--no-accounting", "true"],
            env={**os.environ, "TMPDIR": str(tmp_path)}, check=True, capture_output=True,
        )  # fmt: skip
        assert again.returncode == 0
        assert list(tmp_path.iterdir()) == []


def test_its_exit_code_is_the_commands():
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--no-accounting", "sh", "-c", "exit 7"], capture_output=True
    )
    assert done.returncode == 7


def test_without_slurm_it_says_how_to_get_it(tmp_path):
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "true"], env={"PATH": str(tmp_path)}, capture_output=True, text=True
    )
    if done.returncode == 0:
        pytest.skip("SLURM is where it is always found")
    assert done.returncode == 1
    assert done.stderr.startswith("throwaway_cluster.py: ")
    assert "not found: apt-get install -y slurm-wlm && apt-get install" in done.stderr
    assert done.stderr.count("\n") == 1
