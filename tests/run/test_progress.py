"""How a run is going: a bar that fits its terminal, lines where there is none, the same numbers in both."""

import re
import sys

import pytest

from bn.run import progress as module
from bn.run.telling import duration
from bn.train import train
from tests.run.terminals import Terminal, pieces, screen

NUMBERS = r"accuracy \d+\.\d\d%  loss \d\.\d+"
LEFT = r"[\d:?]+ left"
BAR = r" +\d+% \|[^|]+\| \d+/120 steps"
SHOWN = {  # by columns, once there are numbers
    24: r"\d+%",
    40: NUMBERS,
    44: f"{NUMBERS}  {LEFT}",
    80: f"{NUMBERS}  {LEFT}{BAR}",
    120: f"{NUMBERS}  {LEFT}{BAR}",
}
WHOLE = rf"(accuracy \d+\.\d\d%)? *(loss \d\.\d+)? *({LEFT})?( *\d+%( \d+/120 steps)?|{BAR})?"


def trained_on(terminal, run, monkeypatch):
    """Train with the bar on this terminal; all that was drawn."""
    run.open()
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", terminal.stream)
        train(run.config, run)
    run.close()
    return terminal.close()


@pytest.mark.parametrize("columns", SHOWN)
def test_the_bar_fits_and_puts_accuracy_loss_and_time_first(columns, planned, monkeypatch, capsys):
    monkeypatch.setattr(module, "MIN_INTERVAL_S", 0.0)  # each step is drawn
    run = planned("experiment=mnist_bn")
    drawn = trained_on(Terminal(columns), run, monkeypatch)
    found = [piece.strip() for piece in pieces(drawn) if piece]
    assert len(found) > 100
    assert max(map(len, found)) <= columns
    assert all(re.fullmatch(WHOLE, piece) for piece in found)  # nothing is cut
    assert re.fullmatch(SHOWN[columns], found[-1])
    assert screen(drawn, columns) == []  # in the end it is gone, and the last lines say more
    assert "accuracy" not in capsys.readouterr().out  # on a terminal there are no lines beside the bar


@pytest.mark.parametrize(
    ("every_s", "least_s", "steps"),
    [(60.0, 60.0, []), (0.0, 60.0, range(1, 120)), (60.0, 0.0, [20, 40, 60, 80, 100])],
)
def test_lines_where_there_is_no_terminal(every_s, least_s, steps, planned, monkeypatch, capsys):
    """One after a while, and one for each tenth of the run: here at each log after one."""
    monkeypatch.setattr(module, "EVERY_S", every_s)
    monkeypatch.setattr(module, "LEAST_S", least_s)
    run = planned("experiment=mnist_bn")
    run.open()
    train(run.config, run)
    run.close()
    out, err = capsys.readouterr()
    lines = [line for line in out.splitlines() if "; step " in line]
    assert [line.rpartition("; ")[2] for line in lines] == [f"step {n} of 120" for n in steps]
    assert all(line.startswith("mnist_bn seed 0: ") for line in lines)
    numbers = NUMBERS.replace("  ", ", ")
    assert not lines or re.search(
        rf": {numbers}, \d+(\.\d)? s left; step 100 of 120$", lines[99 if len(lines) > 9 else -1]
    )
    assert err == ""


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

    monkeypatch.setattr(module, "EVERY_S", 0.0)
    run = planned("experiment=mnist_bn")
    run.open()
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", Closed())
        train(run.config, run)
    run.close()
    assert run.status["state"] == "done"


def test_numbers_in_words():
    latest = {"train/loss": 0.12345, "test/accuracy": 0.97555, "train/images_per_second": 30834.4}
    assert module.told(latest) == ["accuracy 97.56%", "loss 0.1235"]
    assert module.told({}) == []


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
