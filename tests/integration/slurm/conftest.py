"""The project's throwaway SLURM (scripts/slurm/throwaway_cluster.py) for the tests of one file."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bn.files import REPOSITORY
from bn.run.directory import RunDirectory
from scripts.slurm.throwaway_cluster import missing

SCRIPT = REPOSITORY / "scripts" / "slurm" / "throwaway_cluster.py"


def pytest_collection_modifyitems(items):
    for item in items:
        if Path(item.path).is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.slurm)


@pytest.fixture(scope="session", autouse=True)
def _slurm_is_here():
    if lacking := missing():
        pytest.skip(lacking)


class Cluster:
    """A throwaway cluster, and commands in it. It ends with its standard input, however pytest ends."""

    def __init__(self, folder, *options):
        self.folder = folder
        self.started = []
        self.process = subprocess.Popen(
            [sys.executable, str(SCRIPT), *options, "sh", "-c", "echo ready; exec cat"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            start_new_session=True,  # a Ctrl-C is for pytest, which then closes the standard input
        )  # fmt: skip
        assert self.process.stdout is not None
        if self.process.stdout.readline() != "ready\n":
            raise AssertionError(self.process.communicate()[1])
        self.inside = children(self.process.pid)[0]

    def close(self):
        with self.process:  # which closes the pipes and waits
            assert self.process.stdin is not None
            self.process.stdin.close()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(20)
            self.process.kill()
        for process in self.started:  # all are dead, being in the cluster's namespaces
            process.communicate()

    def start(self, *command, **environment):
        """A command in the cluster, on the machine of its controller."""
        names = {
            "OMP_NUM_THREADS",
            *(name for name in os.environ if name.startswith(("PYTEST", "SLURM", "SBATCH"))),
        }
        kept = {name: value for name, value in os.environ.items() if name not in names}
        process = subprocess.Popen(
            ["nsenter", f"--target={self.inside}", "--net", "--mount", "--uts", "--pid",
             "env", f"--chdir={self.folder}", *map(str, command)],
            env={**kept, **environment}, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.started.append(process)
        return process

    def run(self, *command, timeout=300, **environment):
        """Exit code, stdout and stderr."""
        process = self.start(*command, **environment)
        out, err = process.communicate(timeout=timeout)
        return process.returncode, out, err

    def ask(self, *command):
        code, out, err = self.run(*command)
        assert (code, err) == (0, "")
        return out.strip()

    def train(self, *arguments, **environment):
        """`python train.py` of a sweep on SLURM, as a process."""
        small = ("gpus_per_node=null", "cpus_per_task=1", "mem_gb=0.5", "timeout_min=30")
        chosen = {argument.partition("=")[0] for argument in arguments}
        launcher = [f"hydra.launcher.{one}" for one in small]
        return self.start(
            sys.executable, REPOSITORY / "train.py", "-m", "hydra/launcher=slurm", *arguments,
            *(one for one in launcher if one.partition("=")[0] not in chosen), **environment,
        )  # fmt: skip

    def queue(self):
        """State and reason by job id."""
        lines = self.ask("squeue", "--noheader", "--array", "--format", "%i %T %r").splitlines()
        return {line.split()[0]: tuple(line.split(maxsplit=2)[1:]) for line in lines}

    def kill(self, pid, number=signal.SIGKILL):
        """Of a process that knows itself by `pid`."""
        self.run("kill", f"-{int(number)}", pid)

    def preempt(self, node, seconds=1):
        """Take a whole node for a while; the job that has it."""
        return self.ask(
            "sbatch", "--parsable", "--partition=urgent", "--cpus-per-task=4", f"--nodelist={node}",
            "--output=/dev/null", "--wrap", f"sleep {seconds}",
        )  # fmt: skip


def children(pid):
    """Of a process, once it has some."""
    end = time.monotonic() + 10
    while time.monotonic() < end:
        found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        if found:
            return [int(child) for child in found]
        time.sleep(0.01)
    raise AssertionError(f"process {pid} has no children")


@pytest.fixture(scope="module")
def made_cluster(tmp_path_factory):
    """Make a cluster with these options, which ends with the tests of the file."""
    made = []

    def make(*options):
        made.append(Cluster(tmp_path_factory.mktemp("cluster"), *options))
        return made[-1]

    yield make
    for cluster in made:
        cluster.close()


@pytest.fixture(scope="module")
def cluster(made_cluster):
    return made_cluster()


@pytest.fixture
def ended():
    """A sweep command's exit code, stdout and stderr."""

    def wait(process, timeout=300):
        out, err = process.communicate(timeout=timeout)
        return process.returncode, out, err

    return wait


@pytest.fixture
def in_the_middle():
    """Whether a run is training, past its first checkpoint of this start."""

    def ask(run: RunDirectory, job=None):
        status = run.status
        if status.get("state") != "running" or (job and status.get("job") != job):
            return False
        try:
            env = json.loads((run.path / "env.json").read_text())
        except (OSError, ValueError):
            return False
        return status["step"] > [env, *env["resumed"]][-1]["step"]

    return ask


def starts(run):
    """At which steps a run has been started, as it recorded them."""
    env = json.loads((run.path / "env.json").read_text())
    return [start["step"] for start in [env, *env["resumed"]]]
