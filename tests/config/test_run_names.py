"""The name of a run directory contains exactly the differences from its experiment."""

import dataclasses
import re

import pytest

from bn.cli import planned_run
from bn.cli.composition import NAME_LENGTH, composed_config, run_directory_of, run_name
from bn.files import REPOSITORY


def name(*overrides):
    return planned_run(["experiment=mnist_bn", *overrides]).path.parent.name


def test_the_path_of_a_run():
    assert planned_run(["experiment=mnist_bn"]).path == REPOSITORY / "runs/mnist_bn/default/seed_0"
    run = planned_run(["experiment=mnist_baseline", "seed=3", "optim.lr=1", "output=/elsewhere"])
    assert str(run.path) == "/elsewhere/mnist_baseline/optim.lr-1.0/seed_3"


@pytest.mark.parametrize(
    "overrides",
    [
        ["experiment=mnist_bn", "seed=4", "optim.lr=1"],
        ["seed=2", "experiment=bn_x5", "scale=smoke", "ablation=lrn"],
        ["experiment=ensemble", "scale=cifar10", "member=3", "seed=1"],
        ["experiment=mnist_bn", "seed=7", "start='runs/mnist_bn/default/seed_${seed}'"],
    ],
)
def test_composing_once_for_all_seeds_gives_the_same_runs(overrides):
    composed = composed_config(overrides)
    alone = run_directory_of(composed, dict(composed.hydra.runtime.choices))
    planned_run([re.sub("^seed=.*", "seed=9", override) for override in overrides])  # composed first
    found = planned_run(overrides)
    assert (found.path, found.config) == (alone.path, alone.config)


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ([], "default"),
        (["optim.lr=0.1"], "default"),  # the default, given explicitly
        (["optim.lr=1e-1", "model=mlp", "data=mnist", "model.hidden=[100,100,100]"], "default"),
        (["model.norm=batch"], "default"),  # already set by the experiment
        (["seed=5", "output=/x", "data.root=/y", "logger=wandb", "logger.wandb.mode=disabled"], "default"),
        (
            ["checkpoint_every=7", "checkpoint_minutes=1", "extend=runs/x"],
            "default",
        ),  # does not change the records
        (["log_every=50"], "log_every-50"),  # other records
        (["start=runs/x/seed_0"], "start-runs_x_seed_0"),
        (["optim.lr=1"], "optim.lr-1.0"),
        (["optim.lr=1.0"], "optim.lr-1.0"),
        (["optim.lr=1", "model.init_std=0.01"], "model.init_std-0.01__optim.lr-1.0"),
        (["model.init_std=0.01", "optim.lr=1"], "model.init_std-0.01__optim.lr-1.0"),
        (["model.norm=none"], "model.norm-none"),
        (["model.hidden=[50,20]"], "model.hidden-50-20"),
        (["device=cpu"], "device-cpu"),  # changes the last bits
        (["threads=2"], "threads-2"),
        (["cuda_graph=false"], "cuda_graph-False"),
        (["optim.weight_decay=1e-5"], "optim.weight_decay-1e-05"),
    ],
)
def test_names(overrides, expected):
    found = sorted(name(*overrides).split("__"))
    assert found == sorted(expected.split("__"))


def test_the_order_of_arguments_does_not_matter():
    one = ["optim.lr=1", "model.init_std=0.01", "steps=7"]
    assert name(*one) == name(*reversed(one))


def test_different_values_have_different_names():
    lists = ("[1,11]", "[11,1]", "[111]", "[1,1,1]", "[]")
    assert len({name(f"model.hidden={value}") for value in lists}) == len(lists)
    rates = ("0.01", "0.1", "1", "10", "1e-10", "1e10")
    names = {name(f"optim.lr={value}") for value in rates}
    assert len(names) == len(rates)
    assert "default" in names


def test_a_sign_is_kept():
    config = planned_run(["experiment=mnist_bn"]).config

    def with_rate(lr):
        return run_name(dataclasses.replace(config, optim=dataclasses.replace(config.optim, lr=lr)), {})

    assert with_rate(1.5) == "optim.lr-1.5"
    assert with_rate(-1.5) == "optim.lr--1.5"


LONG = [f"model.hidden=[{','.join(['100'] * 60)}]", "optim.lr=1"]


def test_a_long_name_is_capped_and_stays_unique():
    long = name(*LONG)
    other = name(LONG[0], "optim.lr=2")
    assert len(long) == NAME_LENGTH
    assert re.fullmatch(r"model\.hidden(-100)+-?1?0?0?-[0-9a-f]{8}", long)
    assert long[:-8] == other[:-8]
    assert long != other
    assert long == name(*LONG)


@pytest.mark.parametrize("overrides", [["optim.lr=1e-10"], LONG, ["steps=3", "model.hidden=[1,2]"]])
def test_a_name_is_safe_in_a_shell_and_a_file_system(overrides):
    assert re.fullmatch(r"[A-Za-z0-9._-]{1,150}", name(*overrides))
