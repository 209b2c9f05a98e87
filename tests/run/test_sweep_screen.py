"""A sweep while it runs and when it ends: from the run directories, on a terminal or none."""

import json
import re
import sys
import threading

import pytest

from bn.run import watching as module
from bn.run.commands import listing
from bn.run.watching import Watched, end_of_sweep, watched_here
from tests.run.terminals import Terminal, pieces, screen


@pytest.fixture
def runs(planned):
    """Of a sweep over two networks and three seeds; nothing of them is on the disk."""
    return [
        planned(f"experiment={network}", f"seed={seed}")
        for network in ("mnist_baseline", "mnist_bn")
        for seed in range(3)
    ]


def has(run, state, step, accuracy=None, reason=None):
    """What a run in this state leaves on the disk."""
    run.path.mkdir(parents=True, exist_ok=True)
    numbers = {} if accuracy is None else {"test/accuracy": accuracy}
    (run.path / "metrics.jsonl").write_text(json.dumps({"step": step, "wall_s": 1.0, **numbers}) + "\n")
    run.set_status(state, step, reason)


@pytest.fixture
def runs_on():
    """Open a member's directory, as the process that trains it does, until the test ends."""
    opened = []

    def begin(run, step):
        run.open()
        opened.append(run)
        has(run, "running", step)

    yield begin
    for run in opened:
        run.close()


@pytest.mark.parametrize("columns", [80, 120])
def test_what_a_terminal_shows(columns, runs, runs_on, monkeypatch):
    terminal = Terminal(columns)
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", terminal.stream)
        patch.setattr(sys, "stdout", terminal.stream)
        watched = Watched(runs, before=["done", "failed"])
        watched.show()
        runs_on(runs[0], 60)
        runs_on(runs[1], 0)
        watched.show()
        watched.over(0, "done", "seed_0: done at step 120")
        watched.over(4, "failed", "seed_1: failed; no space left")
        watched.show()
        bar = watched._bar
        assert (bar.n, bar.total) == (2, 6)
        watched.close()
    drawn = terminal.close()
    assert max(map(len, pieces(drawn))) <= columns
    assert screen(drawn, columns) == [
        "train.py: 3 of 8: seed_0: done at step 120",
        "train.py: 4 of 8: seed_1: failed; no space left",
    ]
    first, *_, last = [piece for piece in pieces(drawn) if "running |" in piece]
    assert first.startswith("1 of 8 finished, 1 failed, 0 running |")
    assert last.startswith("2 of 8 finished, 2 failed, 1 running |")


def test_nothing_is_drawn_where_there_is_no_terminal(runs, runs_on, capsys):
    watched = Watched(runs)
    runs_on(runs[0], 60)
    watched.show()
    assert capsys.readouterr() == ("", "")


def test_time_left_counts_what_was_done_here(runs, runs_on, monkeypatch):
    """Four members of 120 steps wait, one has done half in 10 s, one was resumed at its half."""
    terminal = Terminal(80)
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", terminal.stream)
        has(runs[1], "interrupted", 60)
        watched = Watched(runs)
        runs_on(runs[0], 0)
        has(runs[0], "running", 60)
        watched._bar.start_t -= 10
        watched.show()
        watched.close()
    assert re.search(r" 00:10, about 01:40 left", terminal.close())  # 10 / 0.5 * (0.5 + 0.5 + 4)


def test_members_here_are_told_of_once(runs, monkeypatch, capsys):
    monkeypatch.setattr(module, "LOOK_S", 0.01)
    has(runs[3], "failed", 40, reason="of another time")  # before the sweep begins
    with watched_here(runs[:5], before=[]):
        has(runs[0], "done", 120, 0.9)
        has(runs[1], "failed", 60, reason="no space left")
        has(runs[2], "interrupted", 60, 0.5, reason="SIGTERM")
        threading.Event().wait(0.1)
    out, err = capsys.readouterr()
    assert out.count("\n") == 1
    assert out.startswith("train.py: ")
    assert out.endswith("seed_0: done at step 120; test/accuracy 0.9000\n")
    failed, interrupted = sorted(err.splitlines(), key=lambda line: "interrupted" in line)
    assert failed.endswith(f"seed_1: failed at step 60; no space left (more in {runs[1].name}/train.log)")
    assert interrupted.endswith(
        "seed_2: interrupted at step 60; SIGTERM; test/accuracy 0.5000: the same command resumes it"
    )


def test_the_last_line(runs):
    for run in runs[:3]:
        has(run, "done", 120, 0.96)
    has(runs[3], "diverged", 60, 0.1)
    has(runs[4], "failed", 60)
    assert end_of_sweep(runs, 125.0) == (
        "train.py: 4 of 6 finished, 1 failed, 1 not started, after 2 min 05 s; next: the same command with "
        "hydra.sweeper.failed=again, once the cause is fixed"
    )
    has(runs[4], "interrupted", 60)
    assert end_of_sweep(runs) == (
        "train.py: 4 of 6 finished, 1 interrupted, 1 not started; next: the same command"
    )
    table = listing(runs[0].config.output, "experiment=mnist_baseline,mnist_bn", subcommand="table")
    assert end_of_sweep(runs[:4]) == f"train.py: 4 of 4 finished; next: {table}"
