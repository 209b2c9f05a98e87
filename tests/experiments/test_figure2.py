"""Figure 2 from synthetic runs: the collected records, and the drawing of networks that fail."""

import json

import numpy as np
import pytest

from bn.errors import UserError
from experiments import EXPERIMENTS, collected, figure2, style
from experiments.drawing import differences, has_records, make
from scripts.make_figures import DRAWN


@pytest.fixture
def runs(ended_run):
    """Two seeds of four networks. The maxima of the base are 0.6 and 0.5, so the level is 0.55."""
    return [
        ended_run("inception", 0, {100: 0.2, 200: 0.4, 300: 0.6}),
        ended_run("inception", 1, {100: 0.3, 200: 0.5, 300: 0.4}),
        ended_run("bn_x5", 0, {100: 0.45, 200: 0.65, 300: 0.7}, population=0.71),
        ended_run("bn_x5", 1, {100: 0.3, 200: 0.5, 300: 0.7}, population=0.72),
        ended_run("inception_x5", 0, {}, end=40, diverged=True),
        ended_run("inception_x5", 1, {100: 0.25}, end=140, diverged=True),
        ended_run("inception_sigmoid", 0, {100: 0.1, 200: 0.1, 300: 0.1}),
        ended_run("inception_sigmoid", 1, {100: 0.1, 200: 0.2, 300: 0.1}),
    ]


@pytest.fixture
def axis(runs, tmp_path, figures):
    """The axis of the figure as it would be saved."""
    figure2.collect(runs, tmp_path / "figure2")
    figure2.draw(tmp_path / "figure2", tmp_path)
    return figures[0].axes[0]


def points(axis, label=None, marker=None):
    """x and y of each line with this label or marker, without lines that are only in the legend."""
    return [
        ([float(x) for x in line.get_xdata()], [float(y) for y in line.get_ydata()])
        for line in axis.lines
        if (label is None or line.get_label().startswith(label))
        and (marker is None or line.get_marker() == marker)
        and len(line.get_xdata())
    ]


def test_collected_numbers_are_those_of_the_runs(runs, tmp_path):
    figure2.collect(runs, tmp_path)
    accuracy = [list(row.values()) for row in collected.read_csv(tmp_path / "accuracy.csv")]
    assert len(accuracy) == 4 * 3 + 1 + 2 * 3
    assert accuracy[:3] == [
        ["inception", "0", "100", "0.2"], ["inception", "0", "200", "0.4"], ["inception", "0", "300", "0.6"],
    ]  # fmt: skip
    assert [row for row in accuracy if row[0] == "inception_x5"] == [["inception_x5", "1", "100", "0.25"]]
    final = [list(row.values()) for row in collected.read_csv(tmp_path / "final.csv")]
    assert final[2:6] == [
        ["bn_x5", "0", "done", "300", "0.71"], ["bn_x5", "1", "done", "300", "0.72"],
        ["inception_x5", "0", "diverged", "40", ""], ["inception_x5", "1", "diverged", "140", ""],
    ]  # fmt: skip
    document = json.loads((tmp_path / "runs.json").read_text())
    assert document["config"]["scale"] == "cifar10"
    assert [run["reason"] for run in document["runs"]][4:6] == [
        "train/loss is inf at step 39", "train/loss is inf at step 139",
    ]  # fmt: skip


def test_a_network_is_drawn_as_mean_and_range_of_its_seeds(axis):
    ((x, y),) = points(axis, "BN-x5 (n = 2)")
    assert x == [100, 200, 300]
    np.testing.assert_allclose(y, [0.375, 0.575, 0.7])
    (band,) = [band.get_paths()[0].vertices for band in axis.collections]
    assert {(100, 0.3), (100, 0.45), (200, 0.5), (200, 0.65)} <= {tuple(point) for point in band}


def test_seeds_that_end_more_than_ten_points_apart_are_drawn_one_by_one(axis):
    both = points(axis, "Inception (n = 2)") + points(axis, "_child")
    assert ([100.0, 200.0, 300.0], [0.2, 0.4, 0.6]) in both
    assert [0.3, 0.5, 0.4] in [list(line.get_ydata()) for line in axis.lines]


def test_diamonds_are_where_all_seeds_reach_the_maximum_of_inception(axis):
    marks = {tuple(np.round([*x, *y], 6)) for x, y in points(axis, marker="D")}
    # Inception: 300 and 200, its own maxima. BN-x5: halfway from 100 to 200, a quarter from 200 to 300.
    assert marks == {(250.0, 0.55), (187.5, 0.55)}


def test_diverged_runs_end_with_a_cross_and_are_counted(axis):
    assert points(axis, marker="x") == [([40], [0.1]), ([140], [0.25])]  # before an evaluation: chance
    assert points(axis, "Inception at x5 (n = 2)\ndiverged by step 40 to 140 (2 of 2)") == [([40], [0.1])]
    assert ([100, 140], [0.25, 0.25]) in points(axis)


def test_runs_at_chance_are_counted_and_drawn_one_by_one(axis):
    assert points(axis, "Inception, sigmoid (n = 2)\nat chance (1 of 2)") == [
        ([100, 200, 300], [0.1, 0.1, 0.1])
    ]
    assert ([100, 200, 300], [0.1, 0.2, 0.1]) in points(axis)


def test_the_title_names_the_scale(axis):
    assert axis.get_xlabel() == "training step, in mini-batches of 32"
    assert axis.get_title() == "CIFAR-10, 28 x 28 crops, width 0.25, 300 mini-batches of 32"


def test_with_a_larger_mini_batch_steps_are_counted_in_mini_batches_of_32(ended_run, tmp_path, figures):
    """With mini-batches of 256, each step counts as eight of the paper's."""
    runs = [
        ended_run("inception", 0, {100: 0.2, 200: 0.4, 300: 0.6}, batch=256),
        ended_run("bn_x5", 0, {100: 0.5, 200: 0.7, 300: 0.8}, population=0.81, batch=256),
        ended_run("inception_x5", 0, {}, end=40, diverged=True, batch=256),
    ]
    figure2.collect(runs, tmp_path)
    rows = [list(row.values()) for row in collected.read_csv(tmp_path / "accuracy.csv")]
    assert [row[2] for row in rows] == ["800", "1600", "2400"] * 2
    assert [row["step"] for row in collected.read_csv(tmp_path / "final.csv")] == ["2400", "2400", "320"]
    figure2.draw(tmp_path, tmp_path)
    axis = figures[0].axes[0]
    assert points(axis, "BN-x5 (n = 1)") == [([800, 1600, 2400], [0.5, 0.7, 0.8])]
    assert [np.round(x[0], 6) for x, _ in points(axis, marker="D")] == [
        2400,
        1200,
    ]  # halfway from 800 to 1600
    assert points(axis, "Inception at x5 (n = 1)\ndiverged by step 320 (1 of 1)") == [([320], [0.1])]
    assert axis.get_xlim() == (0, 2400)
    assert axis.get_xlabel() == "training step, in mini-batches of 32"
    assert axis.get_title() == "CIFAR-10, 28 x 28 crops, width 0.25, 2,400 mini-batches of 32 in steps of 256"


def test_curves_of_different_lengths_and_the_seeds_that_have_ended(ended_run, tmp_path, figures):
    """BN-x5 trains for half the steps; one of its seeds is still running."""
    half = {"steps_factor": 0.5}
    runs = [
        ended_run("inception", 0, {100: 0.2, 200: 0.4, 300: 0.6}),
        ended_run("inception", 1, {100: 0.3, 200: 0.5, 300: 0.4}),
        *(ended_run("bn_x5", seed, {100: 0.5, 150: 0.6}, changes=half) for seed in (0, 1, 2)),
    ]
    runs[3].set_status("running", 100)
    figure2.collect(runs, tmp_path)
    figure2.draw(tmp_path, tmp_path)
    axis = figures[0].axes[0]
    assert points(axis, "Inception (n = 2)")[0][0] == [100, 200, 300]
    ((x, y),) = points(axis, "BN-x5 (n = 2)")
    assert x == [100, 150]
    np.testing.assert_allclose(y, [0.5, 0.6])
    assert axis.get_xlim() == (0, 300)
    assert axis.get_title() == "CIFAR-10, 28 x 28 crops, width 0.25, up to 300 mini-batches of 32"


def test_the_second_axis_counts_epochs(axis):
    """300 mini-batches of 32 of the 50,000 training images of CIFAR-10."""
    axis.figure.draw_without_rendering()
    (top,) = axis.child_axes
    assert top.get_xlabel() == "epoch"
    np.testing.assert_allclose(top.get_xlim(), (0, 300 * 32 / 50_000))


def test_the_legend_says_all_of_it(axis):
    labels = [text.get_text() for text in axis.get_legend().get_texts()]
    assert [label.split("\n")[0] for label in labels] == [
        "Inception (n = 2)", "BN-x5 (n = 2)", "Inception at x5 (n = 2)", "Inception, sigmoid (n = 2)",
        "Inception's maximum, 55.0%,", "diverged",
    ]  # fmt: skip


@pytest.mark.slow
def test_drawing_twice_gives_the_same_bytes(runs, tmp_path):
    figure2.collect(runs, tmp_path / "figure2")
    make("figure2", figure2, tmp_path)
    assert differences("figure2", figure2, tmp_path) == []
    assert {path.name for path in (tmp_path / "figure2").glob("figure2.*")} == {
        "figure2.png", "figure2.svg", "figure2.pdf",
    }  # fmt: skip


def test_runs_of_two_scales_are_not_one_figure(runs, ended_run, tmp_path):
    other = ended_run("inception", 0, {100: 0.1, 200: 0.1, 300: 0.1}, scale="smoke", changes={"threads": 2})
    with pytest.raises(UserError, match=r"^scale=cifar10,smoke: accepted: one scale"):
        figure2.collect([*runs, other], tmp_path)


def test_without_a_run_of_the_base_there_is_no_figure(runs, tmp_path):
    for run in runs[:2]:
        run.set_status("running", 200)
    with pytest.raises(UserError, match=r"^inception: none of its 2 runs has ended$"):
        figure2.collect(runs, tmp_path)


@pytest.mark.parametrize("name", ["figure2", "figure3", "figure4"])
def test_what_has_no_records_yet_is_left_out_and_when_named_says_how_to_make_them(name, tmp_path):
    experiment = EXPERIMENTS[name]
    assert not has_records(name, experiment, tmp_path)
    with pytest.raises(UserError, match=f"missing: python scripts/reproduce.py {name}$"):
        make(name, experiment, tmp_path)
    with pytest.raises(UserError, match=f"missing: python scripts/reproduce.py {name}$"):
        differences(name, experiment, tmp_path)
    assert not (tmp_path / name).exists()
    assert has_records("benchmark", DRAWN["benchmark"], tmp_path)  # not from runs: always drawn


def test_networks_can_be_told_apart_in_gray_too():
    looks = [style.STYLE[network] for network in figure2.networks.NETWORKS]
    assert len({look["color"] for look in looks}) == len({str(look["linestyle"]) for look in looks}) == 7
