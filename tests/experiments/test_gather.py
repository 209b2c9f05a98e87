"""Runs whose directories are gone: only their own committed records are used."""

import shutil

import pytest

from bn.errors import UserError
from experiments import ablation, figure2, figure3, networks

ACCURACY = {100: 0.2, 200: 0.4, 300: 0.6}


@pytest.fixture
def archived(ended_run, tmp_path):
    """Three runs whose records are in the folder figure2, and whose directories are gone."""
    runs = [
        ended_run("inception", 0, ACCURACY),
        ended_run("bn_x5", 0, {100: 0.5, 200: 0.6, 300: 0.7}, population=0.72),
        ended_run("inception_x5", 0, {}, end=40, diverged=True),
    ]
    figure2.collect(runs, tmp_path / "figure2")
    for run in runs:
        shutil.rmtree(run.path)
    return runs


def test_records_stay_when_the_directories_are_gone(archived, tmp_path):
    folder = tmp_path / "figure2"
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    figure2.collect(archived, folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_what_ended_since_is_added_in_the_planned_order(archived, ended_run, tmp_path):
    new = ended_run("bn_baseline", 0, ACCURACY)
    figure2.collect([archived[0], new, *archived[1:]], tmp_path / "figure2")
    found = networks.read_trainings(tmp_path / "figure2")
    assert [training.network for training, _ in found] == [
        "inception",
        "bn_baseline",
        "bn_x5",
        "inception_x5",
    ]
    assert [entry["config"]["experiment"] for _, entry in found] == [t.network for t, _ in found]


def test_a_directory_counts_before_the_records(archived, ended_run, tmp_path):
    again = ended_run("inception", 0, {100: 0.1, 200: 0.1, 300: 0.2})
    figure2.collect([again, *archived[1:]], tmp_path / "figure2")
    (training, _), *_ = networks.read_trainings(tmp_path / "figure2")
    assert training.maximum == 0.2


def test_records_count_until_another_training_of_the_run_has_ended(archived, ended_run, tmp_path):
    under_way = ended_run("bn_x5", 0, {100: 0.5})
    under_way.set_status("running", 100)
    figure2.collect([archived[0], under_way], tmp_path / "figure2")
    found = networks.read_trainings(tmp_path / "figure2")
    assert [(training.network, training.maximum) for training, _ in found] == [
        ("inception", 0.6), ("bn_x5", 0.7),
    ]  # fmt: skip


def test_records_of_another_config_do_not_count(archived, ended_run, tmp_path):
    other = ended_run("inception", 0, ACCURACY, changes={"optim.lr": 0.3})
    shutil.rmtree(other.path)
    with pytest.raises(UserError, match="inception: none of its 1 runs has ended"):
        figure2.collect([other], tmp_path / "figure2")


def test_records_and_directories_of_other_numerics_are_not_one_figure(archived, ended_run, tmp_path):
    new = ended_run("bn_baseline", 0, ACCURACY, device="cuda")
    with pytest.raises(UserError, match="device is cpu and cuda"):
        figure2.collect([*archived, new], tmp_path / "figure2")


def test_other_tables_take_the_runs_of_figure_2_from_its_records(archived, ended_run, tmp_path):
    without = ended_run("bn_x5", 0, ACCURACY, population=0.62, changes={"optim.lr_factor": 1.0})
    figure3.collect(archived, tmp_path / "figure3")
    ablation.collect([*archived[:2], without], tmp_path / "ablation")
    found = networks.read_trainings(tmp_path / "figure3")
    assert [(training.network, networks.matched(training, 0.6)) for training, _ in found] == [
        ("inception", 300), ("bn_x5", 200), ("inception_x5", None),
    ]  # fmt: skip
    expected = [("inception", 0.6), ("bn_x5", 0.72), ("bn_x5 without rate", 0.62)]
    found = networks.read_trainings(tmp_path / "ablation")
    assert [(training.network, training.final) for training, _ in found] == expected
    shutil.rmtree(without.path)  # now all directories are gone
    ablation.collect([*archived[:2], without], tmp_path / "ablation")
    found = networks.read_trainings(tmp_path / "ablation")
    assert [(training.network, training.final) for training, _ in found] == expected
