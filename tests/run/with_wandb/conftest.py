"""Weights & Biases without an account, and a stand-in for its runs."""

from types import SimpleNamespace

import pytest

RUN = ("experiment=mnist_bn", "logger=wandb")


@pytest.fixture(autouse=True)
def _no_account(monkeypatch, tmp_path):
    """Hide this user's key, settings, cache and proxy."""
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in ("CONFIG_DIR", "CACHE_DIR", "DATA_DIR"):
        monkeypatch.setenv(f"WANDB_{name}", str(tmp_path / "home" / name))


class FakeRun:
    """Stands for the run that wandb.init returns; raises in the `fails` calls."""

    def __init__(self, fails=()):
        self.fails = fails
        self.logged = []
        self.summary = {}
        self.finished = 0

    def log(self, record, step):
        if "log" in self.fails and step >= 60:
            raise RuntimeError("the service\nis gone")
        self.logged.append((step, record))

    def finish(self, exit_code):
        self.finished += 1
        self.exit_code = exit_code
        if "finish" in self.fails:
            raise BrokenPipeError("the service is gone")


@pytest.fixture
def fake(monkeypatch):
    """Replace wandb.init; records its arguments, and the run it returned or the error it raised."""
    got = SimpleNamespace(calls=[], run=FakeRun())

    def init(**arguments):
        got.calls.append(arguments)
        if isinstance(got.run, Exception):
            raise got.run
        return got.run

    monkeypatch.setattr("wandb.init", init)
    return got


def offline_runs(run):
    """Those that W&B wrote into a run directory, in order."""
    return sorted((run.path / "wandb").glob("offline-run-*"))


def numbers_logged(run):
    """Those of metrics.jsonl among what a fake run received."""
    return [
        (step, record)
        for step, record in run.logged
        if not any("layer" in n or "figure" in n for n in record)
    ]
