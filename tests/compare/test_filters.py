"""The runs selected by conditions, and refused conditions."""

import pytest

from bn.compare.filters import parse_condition, parse_selection, select_runs
from bn.errors import UserError
from tests.compare.fake_runs import config_text, stat


def names(folder, *words):
    found = select_runs(*parse_selection([str(folder), *words]))
    return [f"{run.state.experiment} {run.config['optim.lr']:g} {run.config['seed']}" for run in found]


@pytest.mark.parametrize(
    ("words", "number"),
    [
        (["optim.lr=1"], 2),
        (["optim.lr=1.0"], 2),
        (["optim.lr=1e0,3"], 2),
        (["optim.lr>=0.1"], 6),
        (["optim.lr>0.1"], 2),
        (["optim.lr<1"], 4),
        (["optim.lr<=0.1", "seed=0"], 2),
        (["optim.lr!=1"], 4),
        (["experiment=mnist_bn"], 4),
        (["experiment=mnist_bn,mnist_baseline"], 6),
        (["model.norm=batch", "seed=1"], 2),
        (["model=mlp", "optim=sgd,adam"], 6),
        (["model.hidden=[100,100,100]"], 6),
        (["model.hidden=[100]"], 0),
        (["model.hidden!=[100]"], 6),
        (["scale=null"], 6),
        (["scale!=null"], 0),
        (["channels_last=true"], 6),
        (["channels_last=1"], 0),
        (["channels_last>=0"], 0),
        (["seed=false"], 0),
        (["state=done,failed"], 6),
        (["accuracy>0.9"], 2),
        (["accuracy>0.9", "accuracy<0.96"], 1),
        (["step>=400"], 6),
        (["model.bn_eps=1e-5"], 6),
        (["steps_factor=1"], 6),
    ],
)
def test_conditions(grid, words, number):
    assert len(names(grid, *words)) == number


def test_selected_runs(grid):
    assert names(grid, "optim.lr>=1") == ["mnist_bn 1 0", "mnist_bn 1 1"]
    assert names(grid, "accuracy<0.75") == ["mnist_baseline 0.1 0"]


def test_an_old_run_has_the_default_of_a_newer_key(make, tmp_path):
    text = config_text("mnist_bn", 0)
    assert "steps_factor: 1.0\n" in text
    make("mnist_bn/default/seed_0", config=text.replace("steps_factor: 1.0\n", ""), status=stat("done", 400))
    assert len(names(tmp_path / "runs", "steps_factor=1")) == 1


def test_a_folder_named_like_a_condition_is_a_folder(make, tmp_path, monkeypatch):
    make("optim.lr=1/a/seed_0", config=config_text("mnist_bn", 0, lr=1.0))
    monkeypatch.chdir(tmp_path / "runs")
    folders, conditions = parse_selection(["optim.lr=1", "optim.lr=2"])
    assert [str(folder) for folder in folders] == ["optim.lr=1"]
    assert [each.text for each in conditions] == ["optim.lr=2"]


@pytest.mark.parametrize("text", ["runs", "a/b", "=1", "1=2", "optim.lr", "-x=1"])
def test_not_a_condition(text):
    assert parse_condition(text) is None


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("optim.lr>=x", "optim.lr>=x: accepted: optim.lr>=NUMBER"),
        ("optim.lr>1,2", "optim.lr>1,2: accepted: optim.lr>NUMBER"),
        ("optim.lr>true", "optim.lr>true: accepted: optim.lr>NUMBER"),
        ("optim.lr=", "optim.lr=: accepted: optim.lr=VALUE[,VALUE]"),
        ("optim.lr=]", "optim.lr=]: accepted: optim.lr=VALUE[,VALUE]"),
    ],
)
def test_refused_values(text, line):
    with pytest.raises(UserError) as refused:
        parse_condition(text)
    assert str(refused.value) == line


def test_refused_keys_and_folders(grid, refused, tmp_path):
    assert refused(grid, "optim.rl=1") == (
        "runs.py: optim.rl: no run here has this key; accepted: state, step, accuracy, age, debug "
        "or a key of config.yaml; similar: optim.lr"
    )
    assert refused(grid, "lr>=1").endswith("; similar: optim.lr")
    assert refused("tabel") == (
        "runs.py: tabel: no such folder; accepted: also KEY=VALUE, or a subcommand (--help)"
    )
    assert refused("table", tmp_path / "no").startswith(f"runs.py: {tmp_path / 'no'}: no such folder")


def test_an_accuracy_is_a_share_although_it_is_shown_in_percent(grid, refused):
    assert (
        refused(grid, "accuracy>90") == "runs.py: accuracy>90: accepted: a share of 1, such as accuracy>0.9"
    )
    assert refused("table", grid, "accuracy=0.9,95") == (
        "runs.py: accuracy=0.9,95: accepted: a share of 1, such as accuracy=0.9"
    )


def test_options_and_arguments_in_any_order(grid, listed):
    expected = listed("list", "--sort", "seed", "optim.lr=1", grid)
    assert len(expected) == 4
    assert listed("optim.lr=1", "--sort", "seed", grid) == expected
    assert listed(grid, "--sort=seed", "optim.lr=1") == expected
