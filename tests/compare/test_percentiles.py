"""scripts/runs.py plot --percentiles: Figure 1(b, c) for any run and layer."""

import os
import shutil

import numpy as np
import pytest

from bn.compare import percentiles, style
from bn.compare.runs import runs_in
from bn.files import Damaged
from bn.observe.percentiles import typical_unit
from bn.train import train
from tests.compare.fake_runs import corners_of, x_of, y_of
from tests.conftest import run_directory


@pytest.fixture(scope="module")
def two_runs(tmp_path_factory):
    """A folder with two short runs."""
    output = tmp_path_factory.mktemp("two")
    runs = [run_directory(("experiment=mnist_bn", f"seed={seed}"), output) for seed in range(2)]
    for run in runs:
        run.open()
        train(run.config, run, progress=False)
        run.close()
    return runs[0].path.parent


@pytest.fixture
def two_seeds(two_runs, tmp_path):
    """A copy of `short_runs`, and the observations of each."""
    folder = shutil.copytree(two_runs, tmp_path / "mnist_bn")
    observed = []
    for seed in range(2):
        with np.load(folder / f"seed_{seed}" / "activations.npz") as arrays:
            observed.append(dict(arrays))
    return folder, observed


def test_the_typical_unit_of_the_first_seed_and_the_range_of_all(two_seeds):
    folder, observed = two_seeds
    fig, complaints = percentiles.figure_of(runs_in([folder]))
    assert complaints == []
    assert [axis.get_title() for axis in fig.axes] == [f"mnist_bn: layer{i} (n = 2)" for i in (1, 2, 3)]
    axis = fig.axes[2]
    typical = [each["layer3"][:, :, typical_unit(each["layer3"])] for each in observed]
    assert [text.get_text() for text in axis.texts] == ["15%", "50%", "85%"]
    for i, (line, band) in enumerate(zip(axis.lines, axis.collections, strict=True)):
        assert x_of(line).tolist() == observed[0]["steps"].tolist()
        np.testing.assert_allclose(y_of(line), typical[0][:, i])
        corners = corners_of(band)
        both = np.stack([path[:, i] for path in typical])
        assert corners[:, 1].min() == pytest.approx(both.min())
        assert corners[:, 1].max() == pytest.approx(both.max())


def test_layers_are_chosen_by_name(two_seeds, listed, refused, tmp_path):
    folder, _ = two_seeds
    fig, _ = percentiles.figure_of(runs_in([folder]), ["layer3", "layer1"])
    assert [axis.get_title() for axis in fig.axes] == ["mnist_bn: layer3 (n = 2)", "mnist_bn: layer1 (n = 2)"]
    out = tmp_path / "p.svg"
    assert listed("plot", folder, "--percentiles", "--layer", "layer2,layer3", "--out", out) == [str(out)]
    assert refused("plot", folder, "--percentiles", "--layer", "layer9", "--out", out) == (
        "runs.py: --layer=layer9: no run here has observed it; accepted: layer1, layer2, layer3"
    )


def test_a_run_without_the_layer_has_no_panel(two_seeds):
    folder, observed = two_seeds
    np.savez(folder / "seed_1" / "activations.npz", **{**observed[1], "other": observed[1]["layer1"]})
    fig, complaints = percentiles.figure_of(runs_in([folder]), ["other"])
    assert [axis.get_title() for axis in fig.axes] == ["mnist_bn: other (n = 1)"]
    assert complaints == []


def test_the_title_of_a_panel_has_lines_that_fit_above_it():
    for name in (
        "mnist_bn",
        "mnist_bn, nonlinearity=sigmoid",
        "mnist_bn, steps=5000, nonlinearity=sigmoid, lr=0.1",
    ):
        lines = style.wrapped(f"{name}: layer3 (n = 12)", 38).split("\n")
        assert max(map(len, lines)) <= 38
        assert " ".join(" ".join(lines).split()) == f"{name}: layer3 (n = 12)"
        assert "(n = 12)" in lines[-1]


def test_a_seed_that_is_behind_and_one_that_left_the_finite_numbers(two_seeds):
    folder, observed = two_seeds
    shorter = {name: array if name == "percentiles" else array[:2] for name, array in observed[1].items()}
    shorter["layer3"] = shorter["layer3"].copy()
    shorter["layer3"][1] = np.inf
    np.savez(folder / "seed_1" / "activations.npz", **shorter)
    fig, _ = percentiles.figure_of(runs_in([folder]))
    assert len(x_of(fig.axes[2].lines[0])) == len(observed[0]["steps"])
    assert np.isfinite(fig.axes[2].get_ylim()).all()


def test_the_range_is_over_the_same_steps_of_all(two_seeds):
    """The second seed lacks one observed step, in the middle."""
    folder, observed = two_seeds
    kept = np.arange(len(observed[1]["steps"])) != 1
    fewer = {name: array if name == "percentiles" else array[kept] for name, array in observed[1].items()}
    np.savez(folder / "seed_1" / "activations.npz", **fewer)
    fig, _ = percentiles.figure_of(runs_in([folder]))
    first, second = (each["layer3"][:, 0, typical_unit(each["layer3"])] for each in (observed[0], fewer))
    corners = corners_of(fig.axes[2].collections[0])
    for at, *both in zip(fewer["steps"], first[kept], second, strict=True):
        assert sorted(corners[corners[:, 0] == at, 1])[0] == pytest.approx(min(both))
        assert sorted(corners[corners[:, 0] == at, 1])[-1] == pytest.approx(max(both))
    assert not (corners[:, 0] == observed[0]["steps"][1]).any()


def test_damaged_activations_are_named(two_seeds, tmp_path):
    folder, observed = two_seeds
    file = folder / "seed_1" / "activations.npz"
    file.write_bytes(b"no")
    with pytest.raises(Damaged, match="not an npz file"):
        percentiles.observed(file.parent)
    np.savez(file, **{**observed[1], "layer1": np.zeros((1, 2))})
    with pytest.raises(Damaged, match=r"layer1 has the shape \(1, 2\)"):
        percentiles.observed(file.parent)
    fig, (complaint,) = percentiles.figure_of(runs_in([folder]))
    assert "seed_1/activations.npz: damaged" in complaint
    file.unlink()
    os.mkfifo(file)
    with pytest.raises(Damaged, match="not an npz file"):  # does not wait for a writer
        percentiles.observed(file.parent)
    assert fig.axes[2].get_title() == "mnist_bn: layer3 (n = 1)"


def test_a_row_for_each_setting_with_a_panel_for_each_layer(two_seeds, listed, tmp_path):
    folder, _ = two_seeds
    copy = shutil.copytree(folder / "seed_0", tmp_path / "other" / "seed_0")
    text = (copy / "config.yaml").read_text()
    (copy / "config.yaml").write_text(text.replace("lr: 0.1", "lr: 1.0"))
    out = tmp_path / "p.svg"
    assert listed("plot", tmp_path, "--percentiles", "--out", out) == [str(out)]
    fig, complaints = percentiles.figure_of(runs_in([tmp_path]))
    assert complaints == []
    titles = [" ".join(axis.get_title().split()) for axis in fig.axes]
    assert titles == [
        f"mnist_bn, lr={lr}: layer{i} (n = {n})" for lr, n in (("0.1", 2), ("1", 1)) for i in (1, 2, 3)
    ]
