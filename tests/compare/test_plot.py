"""scripts/runs.py plot: the plotted numbers and the files."""

import time

import numpy as np
import pytest
from PIL import Image

from bn.compare import plot, style
from bn.compare.runs import runs_in
from tests.compare.conftest import CURVES
from tests.compare.fake_runs import config_text, corners_of, curve, stat, x_of, y_of


def drawn(folder, numbers=("test/accuracy",), x="step", log="", left_out=()):
    """The labelled lines by label, the other lines, and the axes."""
    fig, complaints = plot.figure_of(runs_in([folder]), numbers, x, log)
    for run, line in zip(left_out, complaints, strict=True):
        assert line.startswith("left out: ")
        assert f"{run}: it has logged no {numbers[0]} yet" in line
    lines = {
        line.get_label(): line for line in fig.axes[0].lines if not str(line.get_label()).startswith("_")
    }
    return lines, [line for line in fig.axes[0].lines if str(line.get_label()).startswith("_")], fig.axes


def test_mean_and_range_of_the_seeds(grid):
    lines, thin, (axis, *_) = drawn(grid)
    assert list(lines) == [f"{name}, lr={lr:g} (n = 2)" for name, lr in CURVES]
    assert thin == []
    for (line, band), curves in zip(
        zip(lines.values(), axis.collections, strict=True), CURVES.values(), strict=True
    ):
        assert x_of(line).tolist() == [100, 200, 300, 400]
        np.testing.assert_allclose(y_of(line), np.mean(curves, axis=0))
        corners = corners_of(band)
        for i, step in enumerate((100, 200, 300, 400)):
            at_step = corners[corners[:, 0] == step, 1]
            np.testing.assert_allclose(
                [at_step.min(), at_step.max()], [np.min(curves, 0)[i], np.max(curves, 0)[i]]
            )
    assert len({line.get_color() for line in lines.values()}) == 3


def test_the_mean_ends_with_the_shortest_seed_and_others_continue(make, tmp_path):
    for seed, values in enumerate(([0.1, 0.2, 0.3, 0.4], [0.3, 0.4])):
        make(f"mnist_bn/a/seed_{seed}", status=stat("interrupted", 400), metrics=f'{curve(values)}{{"st',
             lock="", config=config_text("mnist_bn", seed))  # fmt: skip
    make("mnist_bn/a/seed_9", status=stat("running", 0), config=config_text("mnist_bn", 9))  # no rows
    lines, (thin,), _ = drawn(tmp_path / "runs", left_out=["mnist_bn/a/seed_9"])
    (mean,) = lines.values()
    assert mean.get_label() == "mnist_bn (n = 2)"
    np.testing.assert_allclose(y_of(mean), [0.2, 0.3])
    np.testing.assert_allclose(x_of(thin), [200, 300, 400])
    np.testing.assert_allclose(y_of(thin), [0.2, 0.3, 0.4])


@pytest.mark.parametrize(
    ("x", "first", "label"),
    [
        ("epoch", 100 * 60 / 60_000, "epoch"),
        ("images", 6_000, "training images seen"),
        ("wall", 1 / 60, "minutes of training"),
    ],
)
def test_other_axes(grid, x, first, label):
    lines, _, (axis, *_) = drawn(grid, x=x)
    (line, *_) = lines.values()
    np.testing.assert_allclose(x_of(line), np.array([1, 2, 3, 4]) * first)
    assert axis.get_xlabel() == label


def test_an_epoch_is_of_the_examples_that_are_not_held_out(make, tmp_path):
    config = config_text("mnist_bn").replace("validation: 0", "validation: 10000")
    make("mnist_bn/a/seed_0", status=stat("done", 400), metrics=curve([0.5]), lock="", config=config)
    lines, _, _ = drawn(tmp_path / "runs", x="epoch")
    np.testing.assert_allclose(x_of(next(iter(lines.values()))), [100 * 60 / 50_000])


def test_the_data_sets_of_the_experiments_have_their_sizes():
    from experiments.networks import TRAINING

    assert TRAINING.items() <= plot.TRAINING.items()


def test_epochs_and_images_need_batch_and_data(make, refused, tmp_path):
    make("a/b/seed_0", status=stat("done", 400), metrics=curve([0.5]), lock="")
    for x in ("epoch", "images"):
        told = refused("plot", tmp_path / "runs", "--x", x, "--out", tmp_path / "a.png")
        assert told.endswith("seed_0: its config does not say how many images a step takes")


def test_logarithmic_axes_and_several_numbers(grid):
    for metrics in grid.rglob("metrics.jsonl"):
        metrics.write_text(metrics.read_text() + '{"step": 500, "wall_s": 5, "train/gradient_norm": 0.1}\n')
    _, _, axes = drawn(grid, ("test/accuracy", "train/gradient_norm"), log="xy")
    assert [axis.get_ylabel() for axis in axes] == ["test/accuracy", "train/gradient norm"]
    assert {axis.get_xscale() for axis in axes} == {axis.get_yscale() for axis in axes} == {"log"}


def test_more_settings_than_colors_have_one_each(make, tmp_path):
    for i in range(12):
        make(f"mnist_bn/{i}/seed_0", status=stat("done", 400), metrics=curve([0.1, 0.2]), lock="",
             config=config_text("mnist_bn", lr=0.1 + i))  # fmt: skip
    lines, _, _ = drawn(tmp_path / "runs")
    assert len({line.get_color() for line in lines.values()}) == 12
    assert list(lines)[:2] == ["mnist_bn, lr=0.1 (n = 1)", "mnist_bn, lr=1.1 (n = 1)"]


@pytest.mark.parametrize("settings", [3, 60])
def test_a_legend_of_long_names_is_in_the_figure(make, tmp_path, settings):
    """It is beside the panels, which keep their size. A layout warning would fail the test."""
    for i in range(settings):
        config = config_text("mnist_bn", lr=1.0 + i, momentum=0.9 / (1 + i), weight_decay=0.1 / (1 + i))
        make(f"mnist_bn/{i}/seed_0", status=stat("done", 400), metrics=curve([0.1, 0.2]), lock="",
             config=config)  # fmt: skip
    with style.applied():
        fig, _ = plot.figure_of(runs_in([tmp_path]), ("test/accuracy", "test/accuracy"), "step", "")
        fig.draw_without_rendering()
    (legend,) = fig.legends
    box, whole = legend.get_window_extent(), fig.bbox
    assert whole.x0 <= box.x0 < box.x1 <= whole.x1
    assert whole.y0 <= box.y0 < box.y1 <= whole.y1
    for axis in fig.axes:
        assert axis.get_window_extent().x1 < box.x0
        assert axis.get_window_extent().width > 4 * fig.dpi
    texts = [" ".join(text.get_text().split()) for text in legend.get_texts()]
    assert len(texts) == settings
    assert texts[0] == "mnist_bn, lr=1, momentum=0.9, weight_decay=0.1 (n = 1)"


def test_settings_are_named_by_the_plotted_runs(make, tmp_path):
    """A run that diverged before it logged anything does not change the names."""
    make("mnist_bn/a/seed_0", status=stat("done", 400), metrics=curve([0.1]), lock="",
         config=config_text("mnist_bn"))  # fmt: skip
    make("mnist_bn/b/seed_0", status=stat("diverged", 3), lock="", config=config_text("mnist_bn", lr=1e6))
    assert list(drawn(tmp_path / "runs", left_out=["mnist_bn/b/seed_0"])[0]) == ["mnist_bn (n = 1)"]


@pytest.mark.parametrize(("suffix", "start"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")])
def test_files(grid, listed, tmp_path, suffix, start):
    out = tmp_path / f"curves.{suffix}"
    assert listed("plot", grid, "--out", out) == [str(out)]
    first = out.read_bytes()
    assert first.startswith(start)
    listed("plot", grid, "--out", out)
    assert out.read_bytes() == first
    assert not list(tmp_path.glob("*.part"))


def test_watch_redraws_new_rows(grid, listed, tmp_path, monkeypatch):
    out, pictures = tmp_path / "curves.png", []

    def slept(seconds):
        assert seconds == 5
        pictures.append(np.array(Image.open(out)))
        if len(pictures) == 3:
            raise KeyboardInterrupt
        if len(pictures) == 1:
            with (grid / "mnist_bn" / "optim.lr-1.0" / "seed_1" / "metrics.jsonl").open("a") as metrics:
                metrics.write('{"step": 500, "wall_s": 5, "test/accuracy": 0.1}\n{"step"')

    monkeypatch.setattr(time, "sleep", slept)
    assert listed("plot", "--watch", grid, "--out", out) == [str(out), ""]
    assert not np.array_equal(pictures[0], pictures[1])
    assert np.array_equal(pictures[1], pictures[2])


def test_watch_waits_for_the_first_run(make, runs_py, tmp_path, monkeypatch):
    """The message is printed once."""
    seconds, out = [], tmp_path / "a.png"

    def slept(_):
        seconds.append(5)
        if len(seconds) == 2:
            make("mnist_bn/a/seed_0", status=stat("running", 400), metrics=curve([0.5]), lock="",
                 config=config_text("mnist_bn"))  # fmt: skip
        if len(seconds) == 4:
            raise KeyboardInterrupt

    monkeypatch.setattr(time, "sleep", slept)
    _, printed, told = runs_py("plot", tmp_path, "--watch", "--out", out)
    assert printed == f"{out}\n\n"
    assert told.startswith("runs.py: no runs here")
    assert told.count("\n") == 1


def test_a_damaged_run_is_left_out_and_named(grid, runs_py, tmp_path):
    (grid / "mnist_bn" / "optim.lr-1.0" / "seed_1" / "metrics.jsonl").write_text('{"test/accuracy": 1}\n')
    _, out, line = runs_py("plot", grid, "--out", tmp_path / "a.png")
    assert "seed_1/metrics.jsonl: damaged (line 1: step is missing)" in line
    assert out == f"{tmp_path / 'a.png'}\n"


def test_refusals(grid, refused, tmp_path):
    for words, line in (
        (["--out", "a.gif"], "--out=a.gif: accepted: a file that ends in .png, .svg, .pdf"),
        (["--y", "x"], "--y=x: no run here has logged it; accepted: test/accuracy"),
        (["--y", "wall_s"], "--y=wall_s: the time of a row, not a value; accepted: test/accuracy"),
        (["--layer", "x"], "--layer: accepted with --percentiles"),
        (["--percentiles", "--x", "wall"], "--x: not accepted with --percentiles"),
        (["--percentiles"], "--percentiles: no run here has any; accepted: runs with observe=[percentiles]"),
        (["seed=7"], "no runs here; accepted: other folders or conditions (runs.py list shows the runs)"),
        (["--out", "no/a.png"], "--out=no/a.png: cannot be written (No such file or directory)"),
    ):
        assert refused("plot", grid, "--out", tmp_path / "a.png", *words) == f"runs.py: {line}"
    assert not (tmp_path / "a.png").exists()


def test_runs_that_have_logged_nothing(make, refused, tmp_path):
    make("mnist_bn/a/seed_0", status=stat("diverged", 3), lock="", config=config_text("mnist_bn"))
    line = "accuracy: no run here has logged it; accepted: runs that have logged numbers"
    assert refused("plot", tmp_path / "runs") == f"runs.py: --y={line}"
    assert refused("table", tmp_path / "runs") == f"runs.py: --value={line}"
