"""What a sweep shows while it runs and at its end, with and without a terminal."""

import json
import re
import sys
import threading

import pytest

from bn.compare import sweep_progress as module
from bn.compare.sweep import SweepMember, differing_keys, member_names, sweep_summary
from bn.compare.sweep_progress import SweepProgress, show_sweep
from bn.run.commands import listing
from tests.run.terminals import Terminal, pieces, screen

SEEDS = ("0", "1", "2")


@pytest.fixture
def members(planned):
    """Members of a sweep over two networks and three seeds; none has a directory yet."""
    return [
        SweepMember(overrides, planned(*overrides))
        for network in ("mnist_baseline", "mnist_bn")
        for overrides in [(f"experiment={network}", f"seed={seed}") for seed in SEEDS]
    ]


def has(member, state, step, accuracy=None, reason=None):
    """Write the records of a run in this state."""
    path = member.run.path
    path.mkdir(parents=True, exist_ok=True)
    numbers = {} if accuracy is None else {"test/accuracy": accuracy}
    (path / "metrics.jsonl").write_text(json.dumps({"step": step, "wall_s": 1.0, **numbers}) + "\n")
    member.run.set_status(state, step, reason)


@pytest.fixture
def runs_on():
    """Keep a member's directory open, as the process that trains it does, until the test ends."""
    opened = []

    def begin(member, step, accuracy=None):
        member.run.open()
        opened.append(member.run)
        has(member, "running", step, accuracy)

    yield begin
    for run in opened:
        run.close()


@pytest.mark.parametrize("columns", [80, 120])
def test_what_a_terminal_shows(columns, members, runs_on, monkeypatch):
    terminal = Terminal(columns)
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", terminal.stream)
        patch.setattr(sys, "stdout", terminal.stream)
        progress = SweepProgress(members, before=["done", "failed"])
        progress.update()
        runs_on(members[0], 60, 0.875)
        runs_on(members[1], 0)
        progress.update()
        progress.report_end(0, "done", "seed_0: done at step 120; test/accuracy 0.9000")
        progress.report_end(4, "failed", "seed_1: failed at step 40; no space left")
        progress.update()
    drawn = terminal.close()
    assert max(map(len, pieces(drawn))) < columns
    end = [re.sub(r"about \d+\.\d s", "about 0.0 s", line) for line in screen(drawn, columns)]
    assert end[:3] == [
        "train.py: 3 of 8: seed_0: done at step 120; test/accuracy 0.9000",
        "train.py: 4 of 8: seed_1: failed at step 40; no space left",
        "2 of 8 finished, 2 failed, 1 running, 3 waiting; about 0.0 s left",
    ]
    assert end[3] == "         -  mnist_baseline seed=1  0 of 120 steps"
    assert "    87.50%  mnist_baseline seed=0  60 of 120 steps" in pieces(drawn)
    assert drawn.count("no space left") == 1


def test_a_narrow_terminal_has_the_counts_in_two_lines(members, monkeypatch):
    terminal = Terminal(40)
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", terminal.stream)
        progress = SweepProgress(members, before=["done", "failed", "interrupted"])
        progress.update()
    assert screen(terminal.close(), 40) == [
        "1 of 9 finished, 1 failed, 1", "interrupted, 0 running, 6 waiting",
    ]  # fmt: skip


def test_many_members_and_a_low_terminal(planned, runs_on, monkeypatch):
    members = [SweepMember((f"seed={s}",), planned("experiment=mnist_bn", f"seed={s}")) for s in range(10)]
    for member in members:
        runs_on(member, 20, 0.5)
    for rows, last in ((24, "  and 2 more"), (4, "    50.00%  seed=1  20 of 120 steps")):
        terminal = Terminal(80, rows)
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stderr", terminal.stream)
            progress = SweepProgress(members)
            progress.update()
        end = screen(terminal.close(), 80)
        assert len(end) < rows
        assert end[-1] == last


def test_a_line_now_and_then_where_there_is_no_terminal(members, runs_on, monkeypatch, capsys):
    progress = SweepProgress(members)
    runs_on(members[0], 60, 0.875)
    progress.update()
    assert capsys.readouterr() == ("", "")  # not yet
    monkeypatch.setattr(module, "EVERY_S", 0.0)
    progress.update()
    out, err = capsys.readouterr()
    assert err == ""
    assert out.startswith("train.py: 0 of 6 finished, 1 running, 5 waiting")
    assert out.endswith(": mnist_baseline seed=0 87.50%\n")


def test_time_left_counts_only_steps_of_this_sweep(members, runs_on, monkeypatch):
    """Four members of 120 steps wait, one has done half in 10 s, one resumed halfway."""
    monkeypatch.setattr(module, "EVERY_S", 0.0)
    now = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    has(members[1], "interrupted", 60)
    progress = SweepProgress(members)
    runs_on(members[0], 0)
    runs_on(members[1], 60)
    progress.update()
    assert progress._left_s() is None
    now[0] += 10
    has(members[0], "running", 60)
    progress.update()
    assert progress._left_s() == pytest.approx(10 / 0.5 * (0.5 + 0.5 + 4))


def test_outcomes_are_printed_once(members, monkeypatch, capsys):
    monkeypatch.setattr(module, "POLL_S", 0.01)
    has(members[3], "failed", 40, reason="of another time")  # before the sweep
    with show_sweep(members[:5], before=[]):
        has(members[0], "done", 120, 0.9)
        has(members[1], "failed", 60, reason="no space left")
        has(members[2], "interrupted", 60, 0.5, reason="SIGTERM")
        threading.Event().wait(0.1)
    out, err = capsys.readouterr()
    assert out.count("\n") == 1
    assert out.startswith("train.py: ")
    assert out.endswith("seed_0: done at step 120; test/accuracy 0.9000\n")
    failed, interrupted = sorted(err.splitlines(), key=lambda line: "interrupted" in line)
    assert failed.endswith(
        f"seed_1: failed at step 60; no space left (more in {members[1].run.name}/train.log)"
    )
    assert interrupted.endswith(
        "seed_2: interrupted at step 60; SIGTERM; test/accuracy 0.5000: the same command resumes it"
    )


def test_the_table_at_the_end(members):
    for member, accuracy in zip(members, (0.96, 0.97, 0.98), strict=False):
        has(member, "done", 120, accuracy)
    has(members[3], "diverged", 60, 0.1)
    has(members[4], "failed", 60)
    *table, last = sweep_summary(members, 125.0)
    assert table == [
        "experiment      seed  accuracy         mean ± 95% interval",
        "mnist_baseline  0     96.00%           97.00 ± 2.48 (n = 3)",
        "mnist_baseline  1     97.00%",
        "mnist_baseline  2     98.00%",
        "mnist_bn        0     diverged 10.00%",
        "mnist_bn        1     failed",
        "mnist_bn        2     not started",
    ]
    assert last == (
        "train.py: 4 of 6 finished, 1 failed, 1 not started, after 2 min 05 s; next: the same command with "
        "hydra.sweeper.failed=again, once the cause is fixed"
    )
    has(members[4], "interrupted", 60)
    assert sweep_summary(members)[-1] == (
        "train.py: 4 of 6 finished, 1 interrupted, 1 not started; next: the same command"
    )


def test_the_counts_agree_while_it_runs_and_at_its_end(members, runs_on, monkeypatch, capsys):
    """Also for members that ended before the sweep began."""
    monkeypatch.setattr(module, "EVERY_S", 0.0)
    for member, state in zip(members, ("done", "failed", "diverged", "failed", "interrupted"), strict=False):
        has(member, state, 60)
    progress = SweepProgress(members[2:], before=["done", "failed"])
    for i, state in enumerate(("diverged", "failed", "interrupted")):
        progress.report_end(i, state, "how it ended")
    runs_on(members[5], 60)
    progress.update()
    counts = "2 of 6 finished, 2 failed, 1 interrupted"
    assert f"train.py: {counts}, 1 running, 0 waiting" in capsys.readouterr().out
    assert sweep_summary(members)[-1].startswith(f"train.py: {counts}, 1 running; next: ")


def test_a_sweep_of_one_has_its_name(members):
    has(members[0], "done", 120, 0.96)
    header, row, last = sweep_summary(members[:1])
    assert header.split() == ["run", "accuracy"]
    assert row.split() == [members[0].run.name, "96.00%"]
    assert last == f"train.py: 1 of 1 finished; next: {listing(members[0].run.config.output)}"
    assert member_names(members[:1]) == [members[0].run.name]


def test_the_keys_that_differ(members):
    run = members[0].run
    typed = [
        ("experiment=mnist_bn", "seed=0", "optim.lr=1", "steps=9"),
        ("experiment=mnist_bn", "seed=0", "+optim.lr=2", "steps=9"),
        ("experiment=mnist_bn", "seed=1", "steps=9"),
    ]
    found = differing_keys([SweepMember(overrides, run) for overrides in typed])
    assert list(found.items()) == [("optim.lr", ["1", "2", ""]), ("seed", ["0", "0", "1"])]
