"""Every key of the schema with every kind of wrong value: one line that names it, nothing on disk."""

import dataclasses
import itertools
import math
from typing import Any, Literal, get_origin

import pytest

from bn.cli import planned_run
from bn.config import flatten, to_dict
from bn.config.notation import hints_of, options_of, parts_of
from bn.errors import UserError
from bn.evaluate.config import Evaluation
from tests.conftest import changed, slowly

EXPERIMENTS = {
    "mnist": ("experiment=mnist_bn", "logger=[wandb,tensorboard]"),
    "images": ("experiment=bn_x5", "scale=smoke", "logger=wandb"),
}
WRONG: dict[Any, tuple[Any, ...]] = {
    int: ("many", "", "3", 2.5, True, [3], {"a": 3}, -1, -(10**30), math.nan, math.inf, 10**30, ()),
    float: ("many", "", "0.5", True, [0.5], {"a": 1}, -1.0, -1e300, math.nan, math.inf, -math.inf, ()),
    bool: ("yes", "", 1, 0, 2.5, None, [True], {"a": True}),
    str: (3, 0.5, True, [], ["a"], {"a": "b"}),
    tuple: ("a", 3, 0.5, True, None, {"a": 1}, [None], [[1]], [{"a": 1}], [math.nan], [True]),
    "choice": ("nothing", "", 1.5, True, [], {"a": 1}, -3),
    "group": (3, "", "nothing", None, [], True),
}


def kind_of(hint):
    """The wrong values of a type from WRONG, with null unless it is accepted."""
    options = options_of(hint)
    base, rules, _ = parts_of(options[0])
    if not isinstance(rules, str) or get_origin(base) is Literal:
        kind = "choice"
    else:
        kind = "group" if dataclasses.is_dataclass(base) else get_origin(base) or base
    return kind, type(None) in options


def keys_of(instance, prefix=""):
    """Yield (key, annotation) for all keys of an instance and its groups."""
    for name, hint in hints_of(type(instance)).items():
        value = getattr(instance, name)
        yield f"{prefix}{name}", hint
        if dataclasses.is_dataclass(value):
            yield from keys_of(value, f"{prefix}{name}.")


def wrong_values(key, hint):
    kind, nullable = kind_of(hint)
    for value in (*WRONG[kind], *(() if nullable else (None,))):
        if value == () and kind is not tuple:
            value = []
        if not (nullable and value is None):
            yield value
    rules = parts_of(options_of(hint)[0]).rules
    if "not empty" in rules:
        yield [] if kind is tuple else ""
    if "distinct" in rules:
        yield "repeated"
    if kind is str and "path" in rules:
        yield from ("~no_such_user/x", "a\nb", "a\0b", "\x1b[2J")


CONFIGS = {name: planned_run(list(overrides)).config for name, overrides in EXPERIMENTS.items()}
CASES = [(name, key, hint) for name, config in CONFIGS.items() for key, hint in keys_of(config)]


@pytest.mark.parametrize(("name", "key", "hint"), CASES, ids=[f"{name}-{key}" for name, key, _ in CASES])
def test_a_wrong_value_gives_one_line_with_the_key(name, key, hint):
    tried = 0
    for value in wrong_values(key, hint):
        if value == "repeated":
            value = 2 * list(flatten(to_dict(CONFIGS[name]))[key])
            if not value:
                continue
        with pytest.raises(UserError) as error:
            changed(CONFIGS[name], {key: value})
        line = str(error.value)
        assert line.splitlines() == [line], value
        assert line.startswith(key), (value, line)
        assert "accepted" in line or "missing" in line, (value, line)
        tried += 1
    assert tried >= 4


def test_every_key_is_covered():
    tried = {(name, key) for name, key, _ in CASES}
    for name, config in CONFIGS.items():
        assert {(name, key) for key in flatten(to_dict(config))} <= tried
    assert len(CASES) > 100


EXTREMES = [
    (name, key, value)
    for name, key, hint in CASES
    if kind_of(hint)[0] in (int, float)
    for value in (10**9, 10**12, 10**18, 10**100, 1e12, 1e100, 1e308, 1e-300, 5e-324)
]


def test_extreme_schedules_fit_into_memory_or_are_refused():
    """Schedules fit into memory, or are refused with the name of the key."""
    accepted = 0
    for name, key, value in EXTREMES:
        try:
            config = changed(CONFIGS[name], {key: value})
        except UserError as error:
            assert str(error).startswith((key, "evaluate.at.every=", "optim.batch=")), (value, str(error))  # noqa: PT017
            continue
        accepted += 1
        assert len(config.evaluate.at.steps(config.length)) <= 1_100_000
        assert config.length <= 10**12
    assert accepted


COMMANDS = {
    "threads": ("0", "-1", "1000000", "99999999999999999999", "nan", "[1]", "''", "1e3", "1.5", "null"),
    "steps": ("0", "-5", "99999999999999999999999", "1e5", "nan", "inf", "''", "[3]", "null", "many"),
    "seed": ("-1", "4294967296", "99999999999999999999", "1.5", "nan", "''", "[1]", "null"),
    "model.hidden": ("[1000000000,3]", "[65536,65536]", "[0]", "[-1]", "[nan]", "3", "''", "null", "[[3]]"),
    "probe.percentiles": ("[]", "[50,50]", "[101]", "[-1]", "[nan]", "50", "''", "null"),
    "probe.at.early": ("[5,5]", "[-1]", "[0.5]", "3", "''", "null", "[99999999999]"),
    "observe": ("[percentiles,percentiles]", "[nothing]", "percentiles", "''", "null"),
    "output": ("", "''", "'~no_such_user/x'", "null", "3", "[a]"),
    "data.root": ("", "'~no_such_user/x'", "null", "3", "[a]"),
    "optim.batch": ("1", "-1", "70000", "60001", "99999999999", "1.5", "nan", "''", "null"),
    "optim.lr": ("0", "-1", "nan", "inf", "1e31", "1e300", "''", "[1]", "null", "fast"),
    "log_every": ("0", "10000000000", "1000000000", "''", "null"),
    "evaluate.at.every": ("0", "99999999999", "''", "null", "0.5"),
    "device": ("gpu", "''", "null", "3", "[cpu]"),
    "experiment": ("null", "3", "nothing", "''", "mnist-bn"),
    "model": ("null", "3", "nothing", "true"),
    "optim": ("null", "3", "nothing"),
    "data": ("null", "3", "nothing"),
    "logger": ("null", "3", "nothing"),
}


TYPED = [(key, value) for key, values in COMMANDS.items() for value in values]


@pytest.mark.parametrize(
    ("key", "value"), [*TYPED[::10], *slowly(*(t for t in TYPED if t not in TYPED[::10]))]
)
def test_typed_on_the_command_line(cli, tmp_path, snapshot, monkeypatch, key, value):
    monkeypatch.chdir(tmp_path)
    given = {"experiment": "mnist_bn", "output": f"{tmp_path}/runs", key: value}
    code, out, err = cli(*(f"{name}={choice}" for name, choice in given.items()))
    assert (code, out) == (1, "")
    assert err.count("\n") == 1
    assert err.startswith(f"train.py: {key}"), err
    assert "accepted" in err
    assert snapshot(tmp_path) == {}


def test_a_tilde_is_the_home_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    run = planned_run(["experiment=mnist_bn", "output='~/runs'", "data.root='~'"])
    assert (run.config.output, run.config.data.root) == (f"{tmp_path}/runs", str(tmp_path))
    assert run.path.is_relative_to(tmp_path / "runs")


@pytest.mark.parametrize("key", list(hints_of(Evaluation)))
def test_an_evaluation_refuses_in_the_same_way(key):
    from bn.evaluate.config import evaluation_from

    right = {
        "checkpoint": "a.pt", "crops": 1, "statistics": "moving", "device": "auto", "threads": None,
        "precision": "auto", "batch": 8, "output": "evaluations",
    }  # fmt: skip
    evaluation_from(right)
    hint = hints_of(Evaluation)[key]
    for value in itertools.chain(
        wrong_values(key, hint), ([""], ["~no_such_user/a"], [3]) if key == "checkpoint" else ()
    ):
        if (key in ("checkpoint", "images") and isinstance(value, str) and value) or value == "repeated":
            continue  # a single path may replace the list
        with pytest.raises(UserError) as error:
            evaluation_from({**right, key: value})
        assert str(error.value).startswith(key)
        assert "\n" not in str(error.value)
