"""scripts/reproduce.py: its refusals, and the time that train.py gets to checkpoint when it is stopped."""

import json
import os
import runpy
import signal
import subprocess
import sys
import time
from types import ModuleType

import pytest

from bn.files import REPOSITORY


@pytest.fixture
def refused(in_process):
    """`refused("figure1", ...)`: the line with which scripts/reproduce.py refuses these arguments."""

    def line(*arguments: str) -> str:
        code, _, err = in_process("scripts/reproduce.py", *arguments)
        assert (code, err.count("\n")) == (1, 1)
        return err.rstrip("\n")

    return line


@pytest.mark.parametrize("override", ["steps=1000", "seed=0,1,2", "optim.lr=1"])
def test_other_runs_do_not_replace_the_committed_results(refused, override: str) -> None:
    assert refused("figure1", override).startswith(f"reproduce.py: {override}: accepted: ")


def test_collect_trains_nothing(refused, tmp_path) -> None:
    line = refused("figure1", "--collect", f"output={tmp_path}")
    assert line.startswith("reproduce.py: ")
    assert line.endswith("seed_0: absent, not finished: run the same command again")
    assert not list(tmp_path.iterdir())


def test_further_runs_are_refused_where_there_are_none(refused) -> None:
    assert refused("figure1", "--further-only") == "reproduce.py: --further-only: figure1 has no further runs"


@pytest.mark.parametrize(
    ("given", "first"), [([], [["train.py", "sweep=fair_comparison", "output=x"]]), (["--further-only"], [])]
)
def test_further_runs_follow_from_the_records_of_the_first(tmp_path, monkeypatch, given, first) -> None:
    class Planned(tuple):
        finished = True

    script = runpy.run_path(str(REPOSITORY / "scripts" / "reproduce.py"))
    module = ModuleType("small")
    module.SWEEPS = {"fair_comparison": ()}  # type: ignore[attr-defined]
    module.collect = lambda runs, folder: done.append(("collect", runs))  # type: ignore[attr-defined]
    module.further_sweeps = lambda folder: [("fair_comparison_chosen", ("optim.lr=2",))]  # type: ignore[attr-defined]
    module.collect_further = lambda runs, folder: done.append(("further", runs))  # type: ignore[attr-defined]
    done, commands = [], []
    inside = script["main"].__globals__
    monkeypatch.setitem(inside, "EXPERIMENTS", {"fair_comparison": module})
    monkeypatch.setitem(inside, "RESULTS", tmp_path)
    monkeypatch.setitem(inside, "PAGES", ())
    monkeypatch.setitem(inside, "make", lambda name, experiment: None)
    monkeypatch.setitem(inside, "run", lambda entry, arguments: commands.append([entry, *arguments]))
    monkeypatch.setattr("bn.cli.planned_runs", lambda sweep, arguments: [Planned((sweep, *arguments))])
    monkeypatch.setattr(sys, "argv", ["reproduce.py", "fair_comparison", *given, "output=x"])
    script["main"]()
    assert commands == [*first, ["train.py", "sweep=fair_comparison_chosen", "optim.lr=2", "output=x"]]
    assert done == [
        *([("collect", [("fair_comparison", "output=x")])] if first else []),
        ("further", [("fair_comparison_chosen", "optim.lr=2", "output=x")]),
    ]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopped_it_leaves_checkpoints_and_no_process(tmp_path, left_of_group, number) -> None:
    process = subprocess.Popen(
        [sys.executable, "scripts/reproduce.py", "figure1", f"output={tmp_path}"],
        cwd=REPOSITORY, env={**os.environ, "PYTHONPATH": str(REPOSITORY)}, start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        end = time.monotonic() + 90
        while not (running := list(tmp_path.glob("*/default/seed_*/metrics.jsonl"))):
            assert process.poll() is None, "ended before a run began"
            assert time.monotonic() < end, "no run began"
            time.sleep(0.1)
        time.sleep(0.5)
        if number == signal.SIGINT:
            os.killpg(process.pid, number)  # as a terminal does
        else:
            process.send_signal(number)
        assert process.wait(timeout=60) == 128 + number
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    statuses = [json.loads((path.parent / "status.json").read_text()) for path in running]
    assert {status["state"] for status in statuses} == {"interrupted"}
    assert all(list((path.parent / "checkpoints").glob("*.pt")) for path in running)
    assert not left_of_group(process.pid)
