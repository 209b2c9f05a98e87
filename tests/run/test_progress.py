"""How a run is going: a bar that fits its terminal, lines where there is none, the same numbers in both."""

import re
import sys

import pytest

from bn.run import progress as module
from bn.run.telling import duration, numbers_told
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
NUMBERS_SHOWN = {16: 1, 24: 1, 40: 3, 80: 4, 120: 4}  # columns and how many of the numbers fit
NUMBERS = r"accuracy \d+\.\d\d%  loss \d\.\d+  \d+(\.\d)? s left  [\d,]+ images/s"


def trained_on(terminal, run, monkeypatch):
    """Train with the bar on this terminal; all that was drawn."""
    run.open()
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", terminal.stream)
        train(run.config, run)
    run.close()
    return terminal.close()


@pytest.mark.parametrize("columns", [16, 24, 40, 80, 120])
def test_the_bar_fits_and_puts_accuracy_loss_and_time_first(columns, planned, monkeypatch, capsys):
    monkeypatch.setattr(module, "MIN_INTERVAL_S", 0.0)  # each step is drawn
    run = planned("experiment=mnist_bn")
    drawn = trained_on(Terminal(columns), run, monkeypatch)
    found = pieces(drawn)
    assert max(map(len, found)) <= columns
    bars = [piece for piece in found if re.match(r"(mnist_bn seed 0 +)?\d+%", piece.strip())]
    assert len(bars) > 100
    assert all(re.fullmatch(BARS[columns], bar.strip()) for bar in bars)  # nothing is cut off
    numbers = [piece for piece in found if piece and piece not in bars]
    shown = NUMBERS.split("  ")[: NUMBERS_SHOWN[columns]]
    assert any(re.fullmatch("  ".join(shown), piece) for piece in numbers)
    whole = re.compile("(" + "|".join(NUMBERS.split("  ")) + ")(  |$)")
    assert all(re.fullmatch(f"({whole.pattern})+", piece) for piece in numbers)
    assert screen(drawn, columns) == []  # in the end it is gone, and the last lines say more
    assert "accuracy" not in capsys.readouterr().out  # on a terminal there are no lines beside the bar


def test_lines_where_there_is_no_terminal(planned, monkeypatch, capsys):
    """One for each tenth of the run, where these do not follow too closely: here at each log after one."""
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


def test_slow_steps_wait_for_no_number(planned, monkeypatch, capsys):
    """Steps of ten seconds, of which the twentieth would be the first to be logged."""
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


def test_whoever_read_the_lines_may_leave(planned, monkeypatch):
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


def test_numbers_in_words():
    latest = {"train/loss": 0.12345, "test/accuracy": 0.97555, "train/images_per_second": 30834.4}
    assert numbers_told(latest, 12.3) == ["accuracy 97.56%", "loss 0.1235", "12 s left", "30,834 images/s"]
    assert numbers_told({}, None) == []


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-1, "0.0 s"), (0.04, "0.0 s"), (9.94, "9.9 s"), (9.96, "10 s"), (59.4, "59 s"), (59.6, "1 min 00 s"),
        (200, "3 min 20 s"), (3600, "1 h 00 min"), (7500, "2 h 05 min"), (3 * 86_400 + 4 * 3600, "3 d 04 h"),
        (float("inf"), "unknown"),
    ],
)  # fmt: skip
def test_durations(seconds, text):
    assert duration(seconds) == text
