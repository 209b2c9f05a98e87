"""Settings: runs that differ only in their seeds, named by the keys in which settings differ."""

import os

from bn.compare.filters import select_runs
from bn.compare.runs import runs_in
from bn.compare.settings import differing_keys, samples, settings, short_names, shown
from tests.compare.fake_runs import config_text, stat


def test_seeds_are_one_setting(grid):
    groups = settings(runs_in([grid]))
    assert [group.name() for group in groups] == [
        "mnist_baseline, lr=0.1", "mnist_bn, lr=0.1", "mnist_bn, lr=1",
    ]  # fmt: skip
    assert [[run.config["seed"] for run in group.runs] for group in groups] == [[0, 1]] * 3


def test_a_seed_counts_once(grid, make, monkeypatch):
    """Further runs of a seed are left out and named; finished runs are preferred."""
    monkeypatch.chdir(grid)
    make("again/seed_0", status=stat("done", 400), lock="", config=config_text("mnist_bn", 0, lr=1.0))
    make("a/seed_1", status=stat("interrupted", 9), lock="", config=config_text("mnist_bn", 1, lr=1.0))
    groups, lines = samples(select_runs([grid], []))
    assert [[run.config["seed"] for run in group.runs] for group in groups] == [[0, 1]] * 3
    assert lines == [
        "left out: mnist_bn/optim.lr-1.0/seed_0: the setting and seed of again/seed_0",
        "left out: a/seed_1: the setting and seed of mnist_bn/optim.lr-1.0/seed_1",
    ]


def test_keys_set_by_the_experiment_do_not_differ(grid):
    runs = [run for run in runs_in([grid]) if run.config["optim.lr"] == 0.1]
    assert {run.config["model.norm"] for run in runs} == {"batch", "none"}
    assert differing_keys(runs) == []
    assert [group.name() for group in settings(runs)] == ["mnist_baseline", "mnist_bn"]


def test_a_missing_key_distinguishes_a_run(make, tmp_path):
    for seed, more in enumerate(("", "added_later: 1\n")):
        make(
            f"mnist_bn/{seed}/seed_0", config=config_text("mnist_bn") + more, status=stat("done", 1), lock=""
        )
    assert [group.name() for group in settings(runs_in([tmp_path]))] == [
        "mnist_bn",
        "mnist_bn, added_later=1",
    ]


def test_a_run_without_a_readable_config_is_in_no_setting(make, tmp_path):
    make("mnist_bn/a/seed_0", config="{", status=stat("done", 1), lock="")
    make("mnist_bn/a/seed_1", config=config_text("mnist_bn", 1), status=stat("done", 1), lock="")
    (group,) = settings(runs_in([tmp_path]))
    assert len(group.runs) == 1


def test_short_names_are_unique():
    assert short_names(["optim.lr", "model.norm", "data.root", "x.root"]) == {
        "optim.lr": "lr", "model.norm": "norm", "data.root": "data.root", "x.root": "x.root",
    }  # fmt: skip


def test_values_are_shown_as_they_are_typed():
    values = (None, True, 0.1, 1.0, 1e-05, [100, 1.5], "batch", 50000)
    assert [*map(shown, values)] == ["null", "true", "0.1", "1", "1e-05", "[100,1.5]", "batch", "50000"]


def test_a_name_has_the_keys_in_which_settings_of_its_scale_differ(make, tmp_path):
    for name, lr, scale in (("mnist_bn", 0.1, "null"), ("mnist_bn", 1.0, "null"), ("bn_x5", 0.1, "smoke")):
        config = config_text("mnist_bn", lr=lr).replace("scale: null", f"scale: {scale}")
        make(f"{name}/{lr}/seed_0", config=config.replace("experiment: mnist_bn", f"experiment: {name}"),
             status=stat("done", 1), lock="")  # fmt: skip
    groups = settings(runs_in([tmp_path]))
    assert [group.name() for group in groups] == [
        "bn_x5, scale=smoke, lr=0.1", "mnist_bn, lr=0.1", "mnist_bn, lr=1",
    ]  # fmt: skip
    assert [group.values for group in groups] == [
        {"scale": "smoke", "optim.lr": "0.1"}, {"scale": "null", "optim.lr": "0.1"},
        {"scale": "null", "optim.lr": "1"},
    ]  # fmt: skip


def test_a_run_without_a_config_is_named(make, tmp_path):
    path = make("mnist_bn/a/seed_0", config="{", status=stat("done", 1), lock="")
    _, (line,) = samples(runs_in([tmp_path]))
    assert line == f"left out: {os.path.relpath(path)}: its config is missing or damaged"
