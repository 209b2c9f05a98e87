"""The largest learning rate that trains, from synthetic runs."""

import pytest

from experiments import rate_tolerance, style
from experiments.drawing import differences, make
from tests.experiments.conftest import cells_of


def accuracy(last):
    return {100: 0.1, 200: 0.2, 300: last}


@pytest.fixture
def runs(ended_run):
    """Two seeds. The best single guess of 10,000 in 0.1% of runs: 0.1 + 3.0902 x 0.003 = 0.10927."""

    def pair(network, factor, *last, population=None):
        changes = {"optim.lr_factor": factor}
        return [
            ended_run(network, seed, {}, end=7 + seed, diverged=True, changes=changes)
            if value is None
            else ended_run(network, seed, accuracy(value), population=population, changes=changes)
            for seed, value in enumerate(last)
        ]

    return [
        *pair("inception", 1.0, 0.4, 0.5),
        *pair("inception", 2.0, 0.3, 0.1092),  # the second, which had 0.2 before, ended at chance
        *pair("inception", 5.0, None, None),
        *pair("inception", 10.0, 0.3, 0.3),
        *pair("bn_baseline", 1.0, 0.4, 0.4, population=0.5),
        *pair("bn_baseline", 2.0, 0.1, 0.1, population=0.1094),  # moving averages lag behind
        *pair("bn_x5_sigmoid", 1.0, 0.1, 0.1, population=0.1),
    ]


def drawn(runs, tmp_path):
    rate_tolerance.collect(runs, tmp_path)
    rate_tolerance.draw(tmp_path, tmp_path)
    return cells_of(tmp_path), (tmp_path / "table.md").read_text()


def test_the_table_says_what_the_runs_say(runs, tmp_path):
    rows, text = drawn(runs, tmp_path)
    assert next(iter(rows.values())) == ["Inception", "BN-Baseline", "BN-x5-Sigmoid"]
    assert rows["1"] == ["45.00 ± 63.53", "50.00 ± 0.00", "10.00 ± 0.00; at chance (2 of 2)"]
    assert rows["2"] == ["20.46 ± 121.22; at chance (1 of 2)", "10.94 ± 0.00", "-"]
    assert rows["5"] == ["10.00 ± 0.00; diverged by step 7 to 8 (2 of 2)", "-", "-"]
    assert rows["10"] == ["30.00 ± 0.00", "-", "-"]
    # Inception trains at 10 again, but not at 2 and 5.
    assert rows["**the largest that trains**"] == ["**1**", "**2**", "**none**"]
    assert "n = 2 seeds" in text


def test_failures_are_marked(runs, tmp_path, figures):
    drawn(runs, tmp_path)
    axis = figures[0].axes[0]

    def marks(kind):
        return [
            (line.get_color(), round(line.get_ydata()[0], 2))
            for line in axis.lines
            if line.get_marker() == kind and len(line.get_xdata())
        ]

    inception, sigmoid = (style.STYLE[name]["color"] for name in ("inception", "bn_x5_sigmoid"))
    assert marks("x") == [(inception, 10.0)]
    assert marks("v") == [(inception, 20.46), (sigmoid, 10.0)]
    assert len(marks("o")) == 4
    labels = [text.get_text() for text in figures[0].legends[0].get_texts()]
    assert labels == [
        "Inception (n = 2)", "BN-Baseline (n = 2)", "BN-x5-Sigmoid (n = 2)",
        "a seed ended at chance", "a seed diverged",
    ]  # fmt: skip


def test_seeds_that_have_not_ended_are_not_counted(runs, tmp_path):
    runs[1].set_status("running", 200)
    rows, text = drawn(runs, tmp_path)
    assert rows["1"][0] == "40.00"
    assert "n = 1 to 2 seeds" in text


@pytest.mark.slow
def test_drawing_twice_gives_the_same_bytes(runs, tmp_path):
    rate_tolerance.collect(runs, tmp_path / "rate_tolerance")
    make("rate_tolerance", rate_tolerance, tmp_path)
    assert differences("rate_tolerance", rate_tolerance, tmp_path) == []
