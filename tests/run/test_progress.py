"""The progress of a run: a bar that fits the terminal, or lines without one, with the same metrics."""

import re
import sys

import pytest

from bn.run import progress as module
from bn.run.formatting import format_duration, format_metrics
from bn.train import train
from tests.run.terminals import Terminal, pieces, screen

BAR = r"\d+% \|[^|]+\| \d+/120"
BARS = {
    16: r"\d+%",
    24: BAR,
    40: BAR,
    80: f"mnist_bn seed 0 +{BAR} steps",
    120: f"mnist_bn seed 0 +{BAR} steps",
}
NUMBERS_SHOWN = {16: 1, 24: 1, 40: 3, 80: 4, 120: 4}  # columns: how many metrics fit
NUMBERS = r"accuracy \d+\.\d\d%  loss \d\.\d+  \d+(\.\d)? s left  [\d,]+ images/s"


def trained_on(terminal, run, monkeypatch):
    """Train with the bar on this terminal; return everything drawn."""
    run.open()
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", terminal.stream)
        train(run.config, run)
    run.close()
    return terminal.close()


@pytest.mark.parametrize("columns", [16, 24, 40, 80, 120])
def test_the_bar_fits_and_puts_accuracy_loss_and_time_first(columns, planned, monkeypatch, capsys):
    monkeypatch.setattr(module, "MIN_INTERVAL_S", 0.0)  # draw at each step
    run = planned("experiment=mnist_bn")
    drawn = trained_on(Terminal(columns), run, monkeypatch)
    found = pieces(drawn)
    assert max(map(len, found)) <= columns
    bars = [piece for piece in found if re.match(r"(mnist_bn seed 0 +)?\d+%", piece.strip())]
    assert len(bars) > 100
    assert all(re.fullmatch(BARS[columns], bar.strip()) for bar in bars)  # not truncated
    numbers = [piece for piece in found if piece and piece not in bars]
    shown = NUMBERS.split("  ")[: NUMBERS_SHOWN[columns]]
    assert any(re.fullmatch("  ".join(shown), piece) for piece in numbers)
    whole = re.compile("(" + "|".join(NUMBERS.split("  ")) + ")(  |$)")
    assert all(re.fullmatch(f"({whole.pattern})+", piece) for piece in numbers)
    assert screen(drawn, columns) == []  # the bar is removed at the end
    assert "accuracy" not in capsys.readouterr().out  # a terminal shows the bar only


def test_lines_where_there_is_no_terminal(planned, monkeypatch, capsys):
    """One for each tenth of the run, if they are far enough apart: here at each log after the first."""
    monkeypatch.setattr(module, "LEAST_S", 0.0)
    run = planned("experiment=mnist_bn")
    run.open()
    train(run.config, run)
    run.close()
    out, err = capsys.readouterr()
    lines = [line for line in out.splitlines() if "; step " in line]
    assert [line.rpartition("; ")[2] for line in lines] == [f"step {n} of 120" for n in (20, 40, 60, 80, 100)]
    assert all(line.startswith("mnist_bn seed 0: ") for line in lines)
    numbers = NUMBERS.replace("  ", ", ")
    assert re.search(f": {numbers}; step 80 of 120$", lines[3])
    assert err == ""


@pytest.mark.parametrize(("least_s", "every_s", "number"), [(60.0, 60.0, 0), (60.0, 0.0, 119)])
def test_lines_come_no_more_often(least_s, every_s, number, planned, monkeypatch, capsys):
    monkeypatch.setattr(module, "LEAST_S", least_s)
    monkeypatch.setattr(module, "EVERY_S", every_s)
    run = planned("experiment=mnist_bn")
    run.open()
    train(run.config, run)
    run.close()
    assert capsys.readouterr().out.count("; step ") == number


def test_slow_steps_print_lines_without_metrics(planned, monkeypatch, capsys):
    """Steps of ten seconds, with the first log at step 20."""
    run = planned("experiment=mnist_bn")
    run.path.mkdir(parents=True)
    now = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    progress = module.Progress(run.config, run, 0, bar=False, writes=True)
    for n in range(1, 8):
        now[0] += 10
        progress.log(n, {})
    progress.close()
    assert capsys.readouterr().out.splitlines() == [
        "mnist_bn seed 0: 19 min 30 s left; step 3 of 120",
        "mnist_bn seed 0: 19 min 00 s left; step 6 of 120",
    ]


def test_a_closed_pipe_does_not_end_the_run(planned, monkeypatch):
    class Closed:
        def write(self, text):
            if "; step " in text:
                raise BrokenPipeError
            return len(text)

        def flush(self):
            pass

        def isatty(self):
            return False

    monkeypatch.setattr(module, "LEAST_S", 0.0)
    run = planned("experiment=mnist_bn")
    run.open()
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", Closed())
        train(run.config, run)
    run.close()
    assert run.status["state"] == "done"


def test_format_metrics():
    latest = {"train/loss": 0.12345, "test/accuracy": 0.97555, "train/images_per_second": 30834.4}
    assert format_metrics(latest, 12.3) == ["accuracy 97.56%", "loss 0.1235", "12 s left", "30,834 images/s"]
    assert format_metrics({}, None) == []


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-1, "0.0 s"), (0.04, "0.0 s"), (9.94, "9.9 s"), (9.96, "10 s"), (59.4, "59 s"), (59.6, "1 min 00 s"),
        (200, "3 min 20 s"), (3600, "1 h 00 min"), (7500, "2 h 05 min"), (3 * 86_400 + 4 * 3600, "3 d 04 h"),
        (float("inf"), "unknown"),
    ],
)  # fmt: skip
def test_durations(seconds, text):
    assert format_duration(seconds) == text
