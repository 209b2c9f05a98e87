"""The switches of section 4.2.1, from synthetic runs whose numbers can be checked by hand."""

import pytest

from bn.cli import planned_run
from bn.cli.arguments import choices_of
from bn.config import flatten, to_dict
from bn.errors import UserError
from experiments import ablation, collected
from experiments.drawing import differences, make
from tests.experiments.conftest import cells_of

FAST, SLOW = {100: 0.5, 200: 0.6, 300: 0.7}, {100: 0.3, 200: 0.5, 300: 0.6}  # 0.55 at steps 150 and 250


@pytest.fixture
def runs(ended_run):
    """The maxima of the base are 0.6 and 0.5, so the level is 0.55."""
    return [
        ended_run("inception", 0, {100: 0.2, 200: 0.4, 300: 0.6}),
        ended_run("inception", 1, {100: 0.3, 200: 0.5, 300: 0.4}),
        ended_run("bn_x5", 0, FAST, population=0.72),
        ended_run("bn_x5", 1, FAST, population=0.74),
        ended_run("bn_x5", 0, SLOW, population=0.62, changes={"optim.lr_factor": 1.0}),
        ended_run("bn_x5", 1, SLOW, population=0.66, changes={"optim.lr_factor": 1.0}),
        ended_run("bn_x5", 0, FAST, population=0.73, changes={"model.lrn": True}),
        ended_run("bn_x5", 1, {}, end=40, diverged=True, changes={"model.lrn": True}),
        ended_run("bn_baseline", 0, SLOW, population=0.6),
        ended_run("bn_baseline", 1, SLOW, population=0.6),
        ended_run("bn_baseline", 0, FAST, population=0.61, changes={"data.shuffle": "within_shards"}),
    ]


def test_the_table_says_what_the_runs_say(runs, tmp_path):
    ablation.collect(runs, tmp_path)
    ablation.draw(tmp_path, tmp_path)
    found = cells_of(tmp_path)
    nothing = ["not trained", "-", "0"]
    # Two seeds: 12.706 times half their distance. With one that diverged: 73 - 10% for its chance.
    assert found["5 times the learning rate"] == [
        "-", "+9.00 ± 12.71", "1.67 (1.67 to 1.67)", "2", *nothing,
    ]  # fmt: skip
    assert found["no local response normalization"] == [
        "-", "+31.50 ± 412.95 (1 diverged)", "reached by 2 of 2 with, 1 of 2 without", "2", *nothing,
    ]  # fmt: skip
    assert found["shuffling within shards"] == ["about 1", *nothing, "+1.00", "1.67", "1"]
    assert found["no dropout"] == ["-", *nothing, *nothing]
    assert found["all seven: BN-x5 against BN-Baseline"] == [
        "-", "+13.00 ± 12.71", "1.67 (1.67 to 1.67)", "2", "-", "-", "-",
    ]  # fmt: skip
    assert "Inception's maxima, 55.0%" in (tmp_path / "notes.md").read_text()


def test_the_figure_has_each_mean_where_it_belongs(runs, tmp_path, figures):
    ablation.collect(runs, tmp_path)
    ablation.draw(tmp_path, tmp_path)
    left, right = figures[0].axes

    def means(axis, marker):
        return [
            (round(line.get_xdata()[0], 2), line.get_ydata()[0])
            for line in axis.lines
            if line.get_marker() == marker and len(line.get_xdata())
        ]

    ticks = [label.get_text() for label in left.get_yticklabels()]
    rate, lrn = ticks.index("5 times the learning rate"), ticks.index("no local response normalization")
    shuffle, whole = ticks.index("shuffling within shards"), len(ticks) - 1
    assert means(left, "o") == [(9.0, rate - 0.16), (31.5, lrn - 0.16)]
    assert means(left, "s") == [(1.0, shuffle + 0.16)]
    assert means(left, "D") == [(13.0, whole)]
    assert means(left, "*") == [(1.0, shuffle + 0.38)]
    assert means(right, "o") == [(1.67, rate - 0.16)]
    assert [text.get_text() for text in right.texts] == ["reached by 2 of 2 with, 1 of 2 without"]


@pytest.mark.slow
@pytest.mark.parametrize(("group", "experiment"), [("ablation", "bn_x5"), ("switch", "bn_baseline")])
def test_each_run_of_the_sweeps_is_recognized(group, experiment):
    off = flatten(to_dict(planned_run(("experiment=inception", "scale=smoke")).config))
    assert set(choices_of(group)) == {"none", *ablation.KEYS}
    for name in choices_of(group):
        run = planned_run((f"experiment={experiment}", "scale=smoke", f"{group}={name}"))
        assert ablation.switch_of(run, off) == name


def test_two_switches_at_a_time_are_refused(runs, ended_run, tmp_path):
    two = ended_run("bn_x5", 0, FAST, changes={"model.lrn": True, "model.dropout": 0.4})
    with pytest.raises(UserError, match="dropout, lrn: accepted: one switch at a time"):
        ablation.collect([*runs, two], tmp_path)


def test_the_base_is_needed_for_the_level(runs, tmp_path):
    runs[1].set_status("running", 200)
    with pytest.raises(UserError, match="inception: none of its 1 runs has ended"):
        ablation.collect(runs[1:], tmp_path)


@pytest.mark.slow
def test_drawing_twice_gives_the_same_bytes(runs, tmp_path):
    ablation.collect(runs, tmp_path / "ablation")
    make("ablation", ablation, tmp_path)
    assert differences("ablation", ablation, tmp_path) == []
    assert (tmp_path / "ablation" / "ablation.pdf").exists()
    rows = collected.read_csv(tmp_path / "ablation" / "final.csv")
    assert list(dict.fromkeys(row["network"] for row in rows)) == [
        "inception", "bn_x5", "bn_x5 without rate", "bn_x5 without lrn", "bn_baseline",
        "bn_baseline with shuffle",
    ]  # fmt: skip
