"""train.log contains what a run prints. Nothing depends on it."""

import os
import sys

import pytest
from tqdm import tqdm

from bn.cli.single_run import attempt
from bn.distributed.ranks import Ranks
from bn.errors import Diverged, Interrupted
from bn.run.final_lines import final_lines
from bn.run.transcript import copy_output
from bn.train import train
from tests.run.terminals import Terminal, pieces, screen

RUN = "experiment=mnist_bn"


def work(config, run, stop_signal=lambda: None):
    train(config, run, stop_signal)


@pytest.fixture
def run(planned):
    return planned(RUN)


def log_of(run):
    return (run.path / "train.log").read_text()


def test_it_contains_what_was_printed_and_a_resumed_run_appends(run, capsys, stop_after):
    def interrupted(config, run):
        train(config, run, stop_after(60))

    assert attempt(run, Ranks(), {}, interrupted)[0] == "interrupted"
    out, err = capsys.readouterr()
    first = log_of(run)
    head, _, rest = first.partition("\n")
    assert head.endswith(run.command)
    assert rest == out + err
    assert rest.endswith(": the same command resumes it\n")

    assert attempt(run, Ranks(), {}, work)[0] == "done"
    out, _ = capsys.readouterr()
    assert out.startswith("mnist_bn: seed 0, from step 60 of 120 steps -> ")
    assert log_of(run).startswith(first)
    assert log_of(run).endswith(out)
    assert f"train.py: next: python scripts/runs.py show {run.name}\n" in out


def test_a_quiet_run_prints_only_there(run, capsys):
    attempt(run, Ranks(), {}, work, quiet=True)
    assert capsys.readouterr() == ("", "")
    assert "mnist_bn: seed 0, for 120 steps" in log_of(run)
    assert ": done at step 120; " in log_of(run)


def test_a_quiet_run_whose_end_cannot_be_recorded_prints_it(run, capsys, monkeypatch):
    """Otherwise the sweep's user would not learn of it."""

    def full(*_):
        raise OSError(28, "No space left on device")

    def failing(config, run):
        monkeypatch.setattr(run, "set_status", full)
        full()

    assert attempt(run, Ranks(), {}, failing, quiet=True)[0] == "failed"
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert "no space left on the device" in err


def test_errors_are_in_it(run, capsys):
    def fails(config, run):
        print("take care", file=sys.stderr)
        raise ZeroDivisionError("of all things")

    assert attempt(run, Ranks(), {}, fails)[0] == "failed"
    for text in (log_of(run), capsys.readouterr().err):
        assert "take care\n" in text
        assert "Traceback (most recent call last)" in text
        assert "seed_0: ZeroDivisionError: of all things\n" in text


def test_a_full_disk_does_not_end_the_run(run, undisturbed, bits):
    run.path.mkdir(parents=True)
    (run.path / "train.log").symlink_to("/dev/full")
    assert attempt(run, Ranks(), {}, work)[0] == "done"
    assert bits(run) == bits(undisturbed(RUN))


def test_neither_does_a_special_file_of_its_name(run):
    run.path.mkdir(parents=True)
    os.mkfifo(run.path / "train.log")  # without a reader
    assert attempt(run, Ranks(), {}, work)[0] == "done"


@pytest.mark.parametrize("change", ["removed", "changed"])
def test_nothing_depends_on_it(run, change, cli, typed):
    attempt(run, Ranks(), {}, work)
    path = run.path / "train.log"
    path.unlink() if change == "removed" else path.write_bytes(b"\0\xff")
    run.check_records()
    code, out, err = cli(*typed(RUN))
    assert (code, err) == (0, "")
    assert "(finished before)\n" in out
    assert path.exists() == (change == "changed")


def test_a_refused_run_and_a_finished_one_leave_none(run, typed, cli, trained):
    trained(RUN)
    code, _, _ = cli(*typed(RUN))
    assert code == 0
    assert not (run.path / "train.log").exists()


def test_only_rank_0_writes(planned):
    run = planned("experiment=inception", "scale=smoke")

    def others(config, run):
        print("of rank 1")
        raise Interrupted(2)

    attempt(run, Ranks(rank=1, size=2, local_rank=1, local_size=2), {}, others)
    assert not run.path.exists()


def test_a_bar_is_not_copied_and_lines_go_over_it(tmp_path, monkeypatch):
    terminal = Terminal(80)
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", terminal.stream)
        patch.setattr(sys, "stdout", terminal.stream)
        with copy_output(tmp_path):
            with tqdm(total=4, mininterval=0, desc="a bar", leave=False) as bar:
                print("one", "two")
                bar.update()
                print("thr", end="")
                bar.update()
                print("ee")
                tqdm.write("four", file=sys.stderr)
            assert sys.stderr.isatty()
    drawn = terminal.close()
    assert (tmp_path / "train.log").read_text() == "one two\nthree\nfour\n"
    assert any(piece.startswith("a bar:  50%|") for piece in pieces(drawn))
    assert screen(drawn, 80) == ["one two", "three", "four"]


def test_the_end_names_the_wandb_sync_command(run):
    folder = run.path / "wandb" / "offline-run-20260101_000000-abc"
    folder.mkdir(parents=True)
    lines = final_lines(run, "done", "the result", 12.3)
    assert lines == [
        "train.py: the result; after 12 s",
        f"train.py: next: python scripts/runs.py show {run.name}",
        f"train.py: W&B: {os.path.relpath(folder)}: wandb sync {run.name}/wandb/offline-run-*",
    ]


def test_the_end_of_an_image_run_names_the_evaluation(planned):
    run = planned("experiment=bn_x5", "scale=smoke")
    run.path.mkdir(parents=True)
    run.set_status("done", 60)
    assert final_lines(run, "done", "x")[1] == (
        f"train.py: next: python evaluate.py checkpoint={run.name} statistics=population crops=144"
    )


def test_divergence_is_printed_as_a_result(run, capsys):
    def diverges(config, run):
        run.start(0, {"type": "cpu", "name": "x"})
        run.set_status("diverged", 3, str(Diverged("train/loss is nan at step 3")))

    assert attempt(run, Ranks(), {}, diverges)[0] == "diverged"
    assert "diverged at step 3; train/loss is nan at step 3; after " in capsys.readouterr().out
