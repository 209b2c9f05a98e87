"""Generated arguments that are not KEY=VALUE: one line that quotes them, and nothing on disk."""

import itertools
import random
import sys

import pytest
from hydra import initialize_config_dir

from bn.cli import members, one_line_errors, planned_run
from bn.cli.arguments import CONFIGS, sweep_arguments

KEYS = (
    "",
    "seed",
    "optim.lr",
    "optim",
    ".lr",
    "optim.",
    "optim..lr",
    "hydra",
    "hydra.run.dir",
    "é",
    "a b",
    "🙂",
)
BEFORE = ("", "+", "++", "~", "@", "=", "-+")
AFTER = ("", "=", "==", "=1", "==1", "=a=b", "@x=1", "@=1", "={", "=[1", "='", "=${", "=a b", "=\n", "=🙂")
PARTS = [f"{before}{key}{after}" for before, key, after in itertools.product(BEFORE, KEYS, AFTER)]
RIGHT = {f"{plus}{pair}" for plus in ("", "++") for pair in ("seed=1", "optim.lr=1")}


def noise(count):
    draw = random.Random(0)
    letters = "seed=1+~@.,/[]{}$'\"\\ \t\0é#:%&*()<>?!|;-_"
    return ["".join(draw.choices(letters, k=draw.randint(1, 12))) for _ in range(count)]


def message_for(argument, monkeypatch):
    """The message with which the argument is refused, or None."""
    monkeypatch.setattr(sys, "argv", ["train.py", "experiment=mnist_bn", argument])
    try:
        with one_line_errors("train.py"):
            planned_run(["experiment=mnist_bn", argument])
    except SystemExit as stop:
        return str(stop.code)
    return None


@pytest.mark.parametrize("arguments", [PARTS, noise(400)], ids=["combined", "random"])
def test_one_line_or_accepted(arguments, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    refused = 0
    for argument in arguments:
        if argument.startswith("-") or "hydra/launcher" in argument:
            continue
        line = message_for(argument, monkeypatch)
        if line is None:
            assert argument in RIGHT or "=" in argument, argument
            continue
        refused += 1
        assert line.isprintable(), argument
        assert line.startswith("train.py: "), argument
        key = argument.strip().lstrip("+~").partition("=")[0].partition("@")[0]
        assert key in line or not key.isprintable(), (argument, line)
    assert refused > 0.5 * len(arguments)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "argument", ["=3", "==", "=", "", " ", "a=b=c", "+=1", "~", "@", "~seed", "seed@x=1"]
)
def test_the_message_says_what_is_accepted(argument, monkeypatch):
    line = message_for(argument, monkeypatch)
    assert line is not None
    assert line.startswith(
        f"train.py: {argument if argument.strip() else repr(argument)}: accepted: KEY=VALUE"
    )


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("debug=fast", "debug=overfit"), "debug: given twice, debug=fast and debug=overfit; accepted: once"),
        (
            ("optim.lr=1", "seed=2", "++optim.lr=1"),
            "optim.lr: given twice, optim.lr=1 and ++optim.lr=1; accep",
        ),
        (("seed=1,2", "seed=3"), "seed: given twice, seed=1,2 and seed=3; accepted: once"),
        (("hydra.launcher.n_jobs=1",) * 2, "hydra.launcher.n_jobs: given twice, "),
        (("experiment=mnist_bn",), "experiment: given twice, "),
        (("--help", "optim", "seed=1", "seed=2"), "seed: given twice, seed=1 and seed=2; accepted: once"),
        (("logger=[wandb,wandb]",), "logger=[wandb,wandb]: accepted: each logger once"),
        (("logger=[none,wandb]",), "logger=[none,wandb]: accepted: each logger once; none only by itself: "),
    ],
)
def test_a_key_given_twice_is_refused(arguments, line, monkeypatch):
    """Hydra would use the last value, and accept any list of loggers."""
    monkeypatch.setattr(sys, "argv", ["train.py", *arguments, "experiment=mnist_bn"])
    with pytest.raises(SystemExit) as stop, one_line_errors("train.py"):
        pass
    assert str(stop.value.code).startswith(f"train.py: {line}")


@pytest.mark.parametrize("argument", ["logger=wandb,tensorboard", "optim.lr=1,2", "seed=range(3)"])
def test_several_values_without_m(argument, monkeypatch):
    assert message_for(argument, monkeypatch) == (
        f"train.py: {argument}: several values: train.py -m trains a run for each; write a list as [1,2]"
    )


@pytest.mark.parametrize(
    "value", ["data.workers=3", "data.workers=null", "model.hidden=[200,100]", "data.root="]
)
def test_a_value_of_a_sweep_is_added_where_its_key_is_missing(value):
    for sweep in (
        ["-m"],
        ["sweep=figure2"],
        ["hydra.mode=MULTIRUN"],
    ):  # mnist, the default data, has no workers
        assert sweep_arguments([*sweep, value]) == [*sweep, f"++{value}"]
    for other in (["experiment=bn_x5"], ["--cfg", "job", "sweep=figure2"]):
        assert sweep_arguments([*other, value]) == [*other, value]


@pytest.mark.parametrize(
    "argument",
    [
        *("optim.lr=1,2", "optim.lr=range(3)", "steps=3", "+data.workers=3", "++data.workers=3"),
        *("hydra.launcher.n_jobs=2", "hydra/launcher=slurm", "scale=smoke"),
    ],
)
def test_other_arguments_of_a_sweep_are_unchanged(argument):
    assert sweep_arguments(["-m", argument]) == ["-m", argument]


@pytest.mark.parametrize("value", ["data.workers=3", "data.workers=null", "data.root='my data'"])
def test_the_members_of_a_sweep_have_the_values_as_given(value):
    (_, *given) = sweep_arguments(["-m", "experiment=bn_x5", value])
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        (member,) = members({}, given)
    assert member == ["experiment=bn_x5", value]


@pytest.mark.parametrize("argument", sorted(RIGHT))
def test_correct_arguments_are_accepted(argument, monkeypatch):
    assert message_for(argument, monkeypatch) is None


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ("hydra.run.dir=here", "hydra.run.dir: accepted Hydra keys: hydra/launcher, hydra.launcher."),
        ("hydra=3", "hydra: accepted Hydra keys: "),
        ("hydra.launcher=3", "hydra.launcher: accepted Hydra keys: "),
        ("hydra.mode=X", "hydra.mode: Invalid value 'X', expected one of [RUN, MULTIRUN]"),
        ("hydra.launcher.n_jobs=many", "hydra.launcher.n_jobs: Value 'many' of type 'str' could not be"),
        ("hydra.launcher.nothing=1", "hydra.launcher.nothing: unknown key; accepted: "),
        ("model.hidden.x=3", "invalid literal for int() with base 10: 'x' (in experiment=mnist_bn model.hid"),
    ],
)
def test_hydra_keys(argument, expected, monkeypatch):
    assert str(message_for(argument, monkeypatch)).startswith(f"train.py: {expected}")


def test_an_internal_error_is_raised(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["train.py"])
    with pytest.raises(ValueError, match="ours"), one_line_errors("train.py"):
        raise ValueError("ours")
