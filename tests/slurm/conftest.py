"""A real SLURM for the tests, one for each process of pytest (scripts/slurm/throwaway_cluster.py)."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bn.records import REPOSITORY
from scripts.slurm.throwaway_cluster import missing

SCRIPT = REPOSITORY / "scripts/slurm/throwaway_cluster.py"
ENDED = {"BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY",
         "PREEMPTED", "TIMEOUT"}  # fmt: skip


class Cluster:
    """Runs commands in a throwaway SLURM. It ends with its standard input, so also where pytest is killed."""

    def __init__(self, cwd: Path, *options: str) -> None:
        self.cwd = cwd  # of the commands, outside the repository
        self.started: list[Started] = []
        self.script = subprocess.Popen(
            [sys.executable, str(SCRIPT), *options, "sh", "-c", "echo ready; exec cat"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            start_new_session=True,  # a Ctrl-C is pytest's, which then closes the standard input
        )  # fmt: skip
        assert self.script.stdout is not None
        if self.script.stdout.readline() != "ready\n":
            pytest.fail(f"no cluster: {self.script.communicate()[1]}")
        # the first process of its namespaces; commands enter them
        self.inside = int(Path(f"/proc/{self.script.pid}/task/{self.script.pid}/children").read_text())

    def start(
        self, *command: object, env: dict[str, str] | None = None, cwd: Path | None = None
    ) -> "Started":
        """Start a command on the controller's host and go on; it is killed when the test ends."""
        here = {
            name: value for name, value in os.environ.items() if not name.startswith(("SLURM_", "SBATCH_"))
        }
        here.pop("OMP_NUM_THREADS", None)
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}:/usr/sbin:/sbin"
        here |= {"SLURM_CONF": "/etc/slurm/slurm.conf", "PATH": path, **(env or {})}
        self.started.append(Started(self, [str(word) for word in command], here, cwd or self.cwd))
        return self.started[-1]

    def run(self, *command: object, timeout: float = 60, **where) -> tuple[int, str, str]:
        """Exit code, stdout and stderr of a command on the controller's host."""
        return self.start(*command, **where).wait(timeout)

    def answer(self, *command: object) -> str:
        """The output of a command of SLURM, which must succeed."""
        code, out, err = self.run(*command)
        assert code == 0, f"{command}: {err}"
        return out

    def submit(self, script: str, *options: object) -> str:
        """sbatch of a shell script; the job's id."""
        return self.answer("sbatch", "--parsable", *options, "--wrap", script).strip()

    def jobs(self) -> dict[str, dict[str, str]]:
        """Of every job and member of an array, ended or not, the fields of `scontrol show job`."""
        jobs = {}
        for line in self.answer("scontrol", "--oneliner", "show", "jobs").splitlines():
            fields = dict(word.split("=", 1) for word in line.split() if "=" in word)
            if "JobId" in fields:  # not so in "No jobs in the system"
                member = "ArrayTaskId" in fields
                name = f"{fields['ArrayJobId']}_{fields['ArrayTaskId']}" if member else fields["JobId"]
                jobs[name] = fields
        return jobs

    def state(self, job: str) -> str:
        """PENDING, RUNNING, COMPLETING, COMPLETED, FAILED, CANCELLED, TIMEOUT, ..."""
        return self.jobs()[job]["JobState"]

    def squeue(self) -> dict[str, str]:
        """The states of the jobs that have not ended."""
        return {
            job: fields["JobState"] for job, fields in self.jobs().items() if fields["JobState"] not in ENDED
        }

    def sacct(self, *options: object) -> list[dict[str, str]]:
        """What accounting holds of jobs, without their steps: JobID, JobName, State, ExitCode, NodeList."""
        fields = "JobID,JobName,State,ExitCode,NodeList"
        lines = self.answer("sacct", "-X", "--noheader", "--parsable2", f"--format={fields}", *options)
        return [dict(zip(fields.split(","), line.split("|"), strict=True)) for line in lines.splitlines()]

    def start_requeued_now(self) -> None:
        """Let no job wait for its time to begin, as requeued ones do for eleven seconds."""
        for job, fields in self.jobs().items():
            if fields["JobState"] == "PENDING" and fields["Reason"] == "BeginTime":
                self.run("scontrol", "update", f"JobId={job}", "StartTime=now")

    def grace(self, seconds: int) -> None:
        """What jobs are given that are preempted from now on, until the test ends; 10 otherwise."""
        self.answer("scontrol", "update", "PartitionName=test", f"GraceTime={seconds}")

    def kill(self, pid: int, number: int = signal.SIGKILL) -> None:
        """A signal to a process by the id that it has in the cluster."""
        self.answer("kill", f"-{int(number)}", pid)

    def until(self, condition, timeout: float = 60) -> None:
        """Wait for something to be true."""
        end = time.monotonic() + timeout
        while not condition():
            if time.monotonic() > end:
                raise AssertionError(f"it did not come to that: {self.jobs()}")
            time.sleep(0.1)

    def clear(self) -> None:
        """End what the test left: its commands, its jobs."""
        for command in self.started:
            command.kill()
        self.grace(10)
        self.run("scancel", "--full", "--signal=KILL", "--user=root")
        self.run("scancel", "--user=root")
        self.until(lambda: not self.squeue())
        self.started.clear()

    def close(self) -> None:
        """End the cluster, whatever state it is in."""
        with self.script:  # which closes the pipes and waits
            assert self.script.stdin is not None
            self.script.stdin.close()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.script.wait(timeout=10)
            self.script.kill()


class Started:
    """A command in the cluster."""

    def __init__(self, cluster: Cluster, command: list[str], env: dict[str, str], cwd: Path) -> None:
        self.process = subprocess.Popen(
            ["nsenter", f"--target={cluster.inside}", "--mount", "--uts", "--net", "--pid",
             "env", f"--chdir={cwd}", *command],
            env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            start_new_session=True,
        )  # fmt: skip

    def wait(self, timeout: float = 60) -> tuple[int, str, str]:
        """Exit code, stdout and stderr."""
        try:
            out, err = self.process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"no end within {timeout} s: {self.process.args}") from None
        return self.process.returncode, out, err

    def signal(self, number: int) -> None:
        """To the command and its children, as a terminal does."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)

    def kill(self) -> None:
        self.signal(signal.SIGKILL)
        self.process.communicate()


@pytest.fixture(scope="session")
def _session_cluster(tmp_path_factory):
    if lacking := missing():
        pytest.skip(lacking)
    cluster = Cluster(tmp_path_factory.mktemp("cluster"))
    yield cluster
    cluster.close()


@pytest.fixture
def cluster(_session_cluster, tmp_path):
    """A running SLURM of two nodes with two GPUs each, no jobs in it; what the test leaves there is ended."""
    _session_cluster.cwd = tmp_path
    yield _session_cluster
    _session_cluster.clear()
