"""Ranks as real processes, over gloo."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.distributed import TCPStore

from bn.config import to_dict
from bn.files import REPOSITORY
from tests.conftest import composed

NETWORK = (
    "experiment=bn_x5", "scale=smoke", "model.width=0.01", "data.crop=16", "model.norm_group=8",
    "optim.batch=16", "steps_factor=1", "steps=24", "log_every=3", "checkpoint_every=10",
    "evaluate.at.early=[]", "evaluate.at.every=12", "evaluate.population_batches=3", "probe.at.early=[0]",
    "probe.at.every=12", "probe.examples=16",
)  # fmt: skip


class Server:
    """A running tests/distributed/rank_server.py."""

    def __init__(self):
        environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
        # train.py sets this before importing torch, which this server imports before it forks: without a
        # network, torch warns that it cannot resolve a host name.
        environment["TORCH_CPP_LOG_LEVEL"] = "ERROR"
        self.process = subprocess.Popen(
            [sys.executable, Path(__file__).with_name("rank_server.py")],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parent,
            env={**environment, "PYTHONPATH": f"{REPOSITORY}:{Path(__file__).parent}"},
        )  # fmt: skip

    def ask(self, job):
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(job) + "\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())


@pytest.fixture(scope="module")
def server():
    server = Server()
    yield server
    assert server.process.stdin is not None
    server.process.stdin.close()
    server.process.wait(10)
    assert server.process.stdout is not None
    server.process.stdout.close()


class Started:
    """Ranks started together as by torchrun, with a store that outlives them."""

    def __init__(self, server, folder, size, job, only=None, port=None):
        self.server = server
        self.folders = []
        self.pids = []
        self.store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
        for rank in range(size) if only is None else only:
            self.folders.append(folder / f"rank_{rank}")
            self.folders[-1].mkdir(parents=True, exist_ok=True)
            environment = {
                "RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": size, "LOCAL_WORLD_SIZE": size,
                "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port or self.store.port,
                "TORCHELASTIC_USE_AGENT_STORE": True,
            }  # fmt: skip
            environment = {name: str(value) for name, value in environment.items()}
            self.pids.append(server.ask({"environment": environment, "output": str(self.folders[-1]), **job}))

    def wait(self):
        """Return the exit codes, and each rank's stdout and stderr."""
        codes = [self.server.ask({"wait": pid}) for pid in self.pids]
        self.pids = []
        texts = [
            tuple((folder / name).read_text() for name in ("stdout", "stderr")) for folder in self.folders
        ]
        return codes, texts

    def kill(self, signal_number=signal.SIGKILL, ranks=None):
        for pid in self.pids if ranks is None else [self.pids[rank] for rank in ranks]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal_number)


@pytest.fixture
def start_ranks(server, tmp_path):
    """Start `size` ranks of `python train.py` with these arguments, and end them after the test."""
    started = []

    def start(size, arguments, **job):
        only, port = job.pop("only", None), job.pop("port", None)
        folder = tmp_path / f"start_{len(started)}"
        started.append(Started(server, folder, size, {"arguments": list(arguments), **job}, only, port))
        return started[-1]

    yield start
    for ranks in started:
        ranks.kill()
        ranks.wait()


@pytest.fixture
def together(start_ranks):
    """Call a function of rank_work.py on `size` ranks (1: in this process) and return the results."""
    from rank_work import __dict__ as work

    def run(size, function, overrides, *rest):
        arguments = to_dict(composed((*NETWORK, *overrides)).config), *rest
        if size == 1:
            return work[function](*arguments)
        ranks = start_ranks(size, arguments, function=function)
        codes, texts = ranks.wait()
        assert codes == [0] * size, texts
        return [torch.load(folder / "result") for folder in ranks.folders]

    return run
