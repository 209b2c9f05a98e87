"""Learning rate and initial weights of Inception, from synthetic runs."""

from itertools import product

import pytest

from experiments import collected, initial_weights
from tests.experiments.conftest import cells_of

ACCURACY = {  # (network, scale of the initial weights): at learning rates 1 and 3; None: diverged
    ("inception", 0.5): (0.1, 0.2),
    ("inception", 2.0): (None, None),
    ("bn_baseline", 0.5): (0.3, 0.35),
    ("bn_baseline", 2.0): (0.32, 0.4),
}


@pytest.fixture
def runs(ended_run):
    made = []
    for (network, scale), (i, factor) in product(ACCURACY, enumerate((1.0, 3.0))):
        accuracy, bn = ACCURACY[network, scale][i], network == "bn_baseline"
        changes = {"model.init_scale": scale, "optim.lr_factor": factor}
        made.append(
            ended_run(network, 0, {}, end=40, diverged=True, changes=changes)
            if accuracy is None
            else ended_run(
                network, 0, {100: 0.1, 200: 0.1, 300: 0.15 if bn else accuracy},
                population=accuracy if bn else None, changes=changes,
            )
        )  # fmt: skip
    return made


def test_the_table_has_each_run_and_the_range_over_the_best_rates(runs, tmp_path):
    initial_weights.collect(runs, tmp_path)
    initial_weights.draw(tmp_path, tmp_path)
    cells = cells_of(tmp_path)
    assert cells["Inception"] == ["0.5", "10.0", "20.0"]
    assert cells["Inception 2"] == ["2", "diverged", "diverged"]
    assert cells["BN-Baseline"] == ["0.5", "30.0", "35.0"]
    assert cells["BN-Baseline 2"] == ["2", "32.0", "40.0"]
    text = (tmp_path / "table.md").read_text()
    assert "the mean accuracies span 10.0 points without BN and 5.0 with." in text  # 20 and chance, 35 and 40


def test_seeds_are_averaged_and_those_that_diverged_count_as_chance(tmp_path):
    header = ("network", "init_scale", "factor", "seed", "state", "step", "accuracy")
    rows = [
        ("inception", 1, 1, 0, "done", 300, 0.3), ("inception", 1, 1, 1, "diverged", 20, ""),
        ("inception", 2, 1, 0, "done", 300, 0.5), ("inception", 2, 1, 1, "done", 300, 0.6),
    ]  # fmt: skip
    collected.write_csv(tmp_path / "final.csv", header, rows)
    grid = initial_weights.read(tmp_path)
    assert grid["inception", 1.0, 1.0] == [0.3, None]
    assert initial_weights.best_range(grid, "inception", 0.1) == pytest.approx(0.55 - 0.2)


def test_all_runs_are_needed(runs, tmp_path):
    runs[1].set_status("running", 200)
    with pytest.raises(collected.UserError, match="seed_0: running, not finished"):
        initial_weights.collect(runs, tmp_path)
