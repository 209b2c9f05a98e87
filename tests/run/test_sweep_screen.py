"""A sweep while it runs and when it ends: from the run directories, on a terminal or none."""

import json
import re
import sys
import threading

import pytest

from bn.compare.members import members_table
from bn.run import watching as module
from bn.run.commands import listing
from bn.run.watching import Watched, end_of_sweep, names, watched_here
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

    def begin(run, step, accuracy=None):
        run.open()
        opened.append(run)
        has(run, "running", step, accuracy)

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
        runs_on(runs[0], 60, 0.875)
        runs_on(runs[1], 0)
        watched.show()
        watched.over(0, "done", "seed_0: done at step 120; test/accuracy 0.9000")
        watched.over(4, "failed", "seed_1: failed at step 40; no space left")
        watched.show()
    drawn = terminal.close()
    assert max(map(len, pieces(drawn))) < columns
    end = [re.sub(r"about \d+\.\d s", "about 0.0 s", line) for line in screen(drawn, columns)]
    assert end[:3] == [
        "train.py: 3 of 8: seed_0: done at step 120; test/accuracy 0.9000",
        "train.py: 4 of 8: seed_1: failed at step 40; no space left",
        "2 of 8 finished, 2 failed, 1 running, 3 waiting; about 0.0 s left",
    ]
    assert end[3] == "        -  mnist_baseline seed_1  0 of 120 steps"
    assert "   87.50%  mnist_baseline seed_0  60 of 120 steps" in pieces(drawn)
    assert drawn.count("no space left") == 1


def test_a_narrow_terminal_has_the_counts_in_two_lines(runs, monkeypatch):
    terminal = Terminal(40)
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", terminal.stream)
        watched = Watched(runs, before=["done", "failed", "interrupted"])
        watched.show()
    assert screen(terminal.close(), 40) == [
        "1 of 9 finished, 1 failed, 1", "interrupted, 0 running, 6 waiting",
    ]  # fmt: skip


def test_many_members_and_a_low_terminal(planned, runs_on, monkeypatch):
    runs = [planned("experiment=mnist_bn", f"seed={s}") for s in range(10)]
    for run in runs:
        runs_on(run, 20, 0.5)
    for rows, last in ((24, "  and 2 more"), (4, "   50.00%  seed_1  20 of 120 steps")):
        terminal = Terminal(80, rows)
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stderr", terminal.stream)
            watched = Watched(runs)
            watched.show()
        end = screen(terminal.close(), 80)
        assert len(end) < rows
        assert end[-1] == last


def test_a_line_now_and_then_where_there_is_no_terminal(runs, runs_on, monkeypatch, capsys):
    watched = Watched(runs)
    runs_on(runs[0], 60, 0.875)
    watched.show()
    assert capsys.readouterr() == ("", "")  # not yet
    monkeypatch.setattr(module, "EVERY_S", 0.0)
    watched.show()
    out, err = capsys.readouterr()
    assert err == ""
    assert out.startswith("train.py: 0 of 6 finished, 1 running, 5 waiting")
    assert out.endswith(": mnist_baseline seed_0 87.50%\n")


def test_time_left_counts_what_was_done_here(runs, runs_on, monkeypatch, capsys):
    """Four members of 120 steps wait, one has done half in 10 s, one was resumed at its half."""
    monkeypatch.setattr(module, "EVERY_S", 0.0)
    now = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    has(runs[1], "interrupted", 60)
    watched = Watched(runs)
    runs_on(runs[0], 0)
    runs_on(runs[1], 60)
    watched.show()
    assert " left" not in capsys.readouterr().out
    now[0] += 10
    has(runs[0], "running", 60)
    watched.show()
    assert "; about 1 min 40 s left: " in capsys.readouterr().out  # 10 / 0.5 * (0.5 + 0.5 + 4)
    watched.over(1, "failed", "of which the time left says nothing")
    watched.show()
    assert "; about 1 min 30 s left: " in capsys.readouterr().out


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


def test_the_table_at_the_end(runs):
    for run, accuracy in zip(runs, (0.96, 0.97, 0.98), strict=False):
        has(run, "done", 120, accuracy)
    has(runs[3], "diverged", 60, 0.1)
    has(runs[4], "failed", 60)
    assert members_table(runs) == [
        "| experiment     | seed | accuracy (%)   | mean ± 95% interval  |",
        "|----------------|------|----------------|----------------------|",
        "| mnist_baseline | 0    | 96.00          | 97.00 ± 2.48 (n = 3) |",
        "| mnist_baseline | 1    | 97.00          |                      |",
        "| mnist_baseline | 2    | 98.00          |                      |",
        "| mnist_bn       | 0    | diverged 10.00 |                      |",
        "| mnist_bn       | 1    | failed         |                      |",
        "| mnist_bn       | 2    | not started    |                      |",
    ]


def test_its_columns_are_the_keys_that_differ(planned):
    runs = [planned("experiment=mnist_bn", f"optim.lr={lr}", f"seed={s}") for lr in (1, 2) for s in (0, 1)]
    assert [[cell.strip() for cell in row.split("|")[2:4]] for row in members_table(runs)] == [
        ["lr", "seed"], ["----", "------"], ["1", "0"], ["1", "1"], ["2", "0"], ["2", "1"]
    ]  # fmt: skip
    assert [(name.split()[0], name.split()[-1]) for name in names(runs)] == [
        (f"optim.lr-{lr}", f"seed_{seed}") for lr in ("1.0", "2.0") for seed in (0, 1)
    ]
    assert names(runs[:1]) == [runs[0].name]
    assert len(members_table(runs[:1])) == 3


def test_the_counts_agree_while_it_runs_and_at_its_end(runs, runs_on, monkeypatch, capsys):
    """Of those that ended before it began, too."""
    monkeypatch.setattr(module, "EVERY_S", 0.0)
    for run, state in zip(runs, ("done", "failed", "diverged", "failed", "interrupted"), strict=False):
        has(run, state, 60)
    watched = Watched(runs[2:], before=["done", "failed"])
    for i, state in enumerate(("diverged", "failed", "interrupted")):
        watched.over(i, state, "how it ended")
    runs_on(runs[5], 60)
    watched.show()
    counts = "2 of 6 finished, 2 failed, 1 interrupted"
    assert f"train.py: {counts}, 1 running, 0 waiting" in capsys.readouterr().out
    assert end_of_sweep(runs).startswith(f"train.py: {counts}, 1 running; next: ")
