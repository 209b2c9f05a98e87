"""Commands started in real terminals of 80 and 120 columns."""

import re

import pytest

from tests.run.terminals import command_in_terminal, pieces, screen

pytestmark = pytest.mark.slow
SHORT = ("steps=600", "evaluate.at.every=100", "log_every=20")


@pytest.mark.parametrize("columns", [80, 120])
def test_a_run(columns, typed, planned):
    code, drawn = command_in_terminal(columns, typed("experiment=mnist_bn", *SHORT))
    run = planned("experiment=mnist_bn", *SHORT)
    assert code == 0
    bars = [piece for piece in pieces(drawn) if "steps" in piece and "|" in piece]
    numbers = [piece for piece in pieces(drawn) if piece.startswith("accuracy ")]
    assert bars
    assert numbers
    assert max(map(len, (*bars, *numbers))) <= columns
    assert all(re.search(r"\| [\d,]+/600 steps$", bar) for bar in bars)
    log = (run.path / "train.log").read_text().splitlines()
    last = [line for line in log if line.startswith("train.py: ")]
    assert drawn.replace("\r", "").endswith("\n".join(last) + "\n")
    assert "done at step 600; " in last[0]


def test_a_sweep(typed, planned):
    columns = 80
    arguments = ("-m", "experiment=mnist_bn", "seed=0,1", "steps=2000", "hydra.launcher.n_jobs=1")
    code, drawn = command_in_terminal(columns, typed(*arguments))
    assert code == 0
    drawn_lines = [
        piece
        for piece in pieces(drawn)
        if re.match(r"\d of 2 finished, ", piece) or "of 2,000 steps" in piece
    ]
    assert any(piece.startswith("0 of 2 finished, 1 running, 1 waiting") for piece in drawn_lines)
    assert max(map(len, drawn_lines)) < columns
    *_, header, first, second, last = screen(drawn, 10_000)
    assert header == "seed  accuracy  mean ± 95% interval"
    assert re.fullmatch(r"0     \d\d\.\d\d%    \d\d\.\d\d ± \d+\.\d\d \(n = 2\)", first)
    assert re.fullmatch(r"1     \d\d\.\d\d%", second)
    assert re.fullmatch(r"train\.py: 2 of 2 finished, after \d.*; next: python \S+runs\.py \S+", last)
