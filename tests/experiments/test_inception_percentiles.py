"""The percentiles of Inception from synthetic records."""

from typing import Any

import numpy as np
import pytest

from experiments import collected, inception_percentiles
from experiments.drawing import differences, make
from experiments.inception_percentiles import movement

ACCURACY = {100: 0.3, 200: 0.4, 300: 0.5}
STEPS = (0, 20, 100, 300)
LAYERS = ["conv2", "inception_3b.conv_3x3"]
CHANGES = {"probe.layers": LAYERS, "probe.at.early": [0, 20, 100], "probe.at.every": 300}  # STEPS
# Three units: 15th, 50th and 85th percentiles at -1, 0, 1 plus a shift, which grows with the steps.
SHIFT = np.array([[0, 0, 0], [0.5, 2, 4], [0.5, 1, 4], [0.5, 1, 3]])  # (T, units)
PATH = np.array([-1.0, 0.0, 1.0])[None, :, None] + SHIFT[:, None, :]  # (T, 3, units)


@pytest.fixture
def runs(ended_run):
    made = []
    for network, scale in (("inception", 10), ("bn_baseline", 1), ("bn_x5", 1)):
        for seed in (0, 1):
            run = ended_run(network, seed, ACCURACY, changes=CHANGES)
            paths: dict[str, Any] = {layer: np.float32(scale * PATH * (1 + seed)) for layer in LAYERS}
            np.savez(run.activations, steps=np.array(STEPS), percentiles=np.array([15, 50, 85]), **paths)
            made.append(run)
    made.append(ended_run("bn_x5", 2, {}, end=40, diverged=True, changes=CHANGES))
    return made


def test_the_record_has_the_typical_unit_and_the_medians(runs, tmp_path):
    inception_percentiles.collect(runs, tmp_path)
    rows = collected.read_csv(tmp_path / "percentiles.csv")
    assert len(rows) == 3 * 2 * 2 * 4  # the run that diverged is left out
    assert list(rows[0]) == [
        "network", "seed", "layer", "step", "unit", "p15", "p50", "p85",
        "median_p15", "median_p50", "median_p85",
    ]  # fmt: skip
    # The median unit of each step is the second, which is the typical one.
    assert list(rows[1].values()) == [
        "inception", "0", "conv2", "20", "1", "10", "20", "30", "10", "20", "30",
    ]  # fmt: skip
    assert {row["unit"] for row in rows} == {"1"}
    assert (tmp_path / "percentiles.csv").stat().st_size < 60 * len(rows)


def test_movement_is_in_units_of_the_layers_spread():
    """Medians move by 0.5, 2 and 4, by 0, 1 and 1 from the second step on; the spread is 2."""
    assert movement(PATH) == pytest.approx(6.5 / 3 / 2)
    assert movement(PATH[1:]) == pytest.approx(2 / 3 / 2)
    assert movement(7 * PATH) == pytest.approx(movement(PATH))


def test_the_table_says_how_far_medians_move(runs, tmp_path):
    inception_percentiles.collect(runs, tmp_path)
    inception_percentiles.draw(tmp_path, tmp_path)
    lines = [line for line in (tmp_path / "table.md").read_text().splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
    assert cells[0][2:] == ["conv2", "3b, 3x3", "seeds"]
    # 10% of the 300 steps: without steps 0 and 20, where 0, 0 and 1 are left of the movement.
    for network, row in zip(("Inception", "BN-Baseline", "BN-x5"), cells[2::2], strict=True):
        assert row == [network, "step 0", "1.08 ± 0.00", "1.08 ± 0.00", "2"]
    for row in cells[3::2]:
        assert row[1:] == ["10% of the training", "0.17 ± 0.00", "0.17 ± 0.00", "2"]


def test_one_row_a_network_and_one_column_a_layer(runs, tmp_path, figures):
    inception_percentiles.collect(runs, tmp_path)
    inception_percentiles.draw(tmp_path, tmp_path)
    axes = np.array(figures[0].axes).reshape(3, 2)
    assert [axis.get_title() for axis in axes[0]] == ["conv2", "3b, 3x3"]
    assert [axis.get_ylabel().split(":")[0] for axis in axes[:, 0]] == ["Inception", "BN-Baseline", "BN-x5"]
    medians = [list(line.get_ydata()) for line in axes[0, 1].lines if len(line.get_xdata()) == 4][1]
    assert medians == [0, 20, 10, 10]  # of seed 0


@pytest.mark.slow
def test_drawing_twice_gives_the_same_bytes(runs, tmp_path):
    name = "inception_percentiles"
    inception_percentiles.collect(runs, tmp_path / name)
    make(name, inception_percentiles, tmp_path)
    assert differences(name, inception_percentiles, tmp_path) == []
