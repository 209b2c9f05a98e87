"""What W&B receives: the config, tags, group and name of a run, and its numbers."""

import json

import pytest

from bn.cli import planned_run
from bn.config import to_dict
from bn.run.directory import read_lines
from bn.run.loggers import open_loggers
from tests.run.with_wandb.conftest import RUN, numbers_logged

wandb = pytest.importorskip("wandb", reason="wandb is not installed")


def test_what_wandb_receives(trained, fake):
    run = trained(*RUN, "logger.wandb.tags=[mine]", "logger.wandb.entity=me")
    (call,) = fake.calls
    assert call["config"] == to_dict(run.config)
    assert json.loads(json.dumps(call["config"])) == call["config"]  # plain values, lists, dicts
    assert type(call["config"]["model"]["hidden"]) is list
    assert call["tags"] == ["mnist_bn", "mine"]
    assert (call["project"], call["entity"], call["mode"]) == ("batch-normalization", "me", "offline")
    assert call["dir"] == run.path
    lines = read_lines(run.path / "metrics.jsonl")
    expected = [(line.pop("step"), {k: v for k, v in line.items() if k != "wall_s"}) for line in lines]
    assert numbers_logged(fake.run) == expected
    last = {name: value for step, record in fake.run.logged if step == 120 for name, value in record.items()}
    assert isinstance(last["inputs/layer3"], wandb.Histogram)
    assert isinstance(last["percentiles/figure"], wandb.Image)
    assert fake.run.finished == 1
    assert fake.run.summary == {"state": "done", "reason": None}


def test_disabled_leaves_nothing(trained, fake):
    run = trained(*RUN, "logger.wandb.mode=disabled")
    assert fake.calls == []
    assert not list(run.path.glob("wandb*"))


def test_the_prepared_sweep_is_a_tag(fake, planned):
    run = planned(*RUN, "logger.wandb.tags=[mine,mnist_bn]")
    run.open()
    run.sweep = "figure1"
    open_loggers(run.config, run)
    run.close()
    assert fake.calls[-1]["tags"] == ["mnist_bn", "figure1", "mine"]


def test_a_member_knows_its_sweep(cli, typed, planned, monkeypatch):
    seen = []
    monkeypatch.setattr("bn.cli.attempt", lambda run, *_, **__: seen.append(run.sweep) or ("done", "well"))
    cli(*typed("sweep=figure1", "experiment=mnist_bn", "seed=0", "hydra/launcher=basic"))
    cli(*typed("experiment=mnist_bn"))
    assert seen == ["figure1", None]


@pytest.fixture
def opened(fake, tmp_path):
    """The arguments of wandb.init for given overrides, without training."""

    def arguments(*overrides):
        run = planned_run(["logger=wandb", *overrides, f"output={tmp_path}"])
        run.open()
        open_loggers(run.config, run)
        run.close()
        return fake.calls[-1]

    return arguments


def test_groups_hold_the_seeds_of_one_setting_and_fit_wandb(opened):
    many = f"model.hidden=[{','.join(map(str, range(20, 60)))}]"
    calls = [
        opened("experiment=mnist_bn", "seed=0"),
        opened("experiment=mnist_bn", "seed=1"),
        opened("experiment=mnist_baseline"),
        opened("experiment=mnist_bn", "optim.lr=0.2"),
        opened("experiment=mnist_bn", many, "optim.lr=0.2", "optim.weight_decay=0.001"),
        opened("experiment=mnist_bn", many, "optim.lr=0.2", "optim.weight_decay=0.002"),
    ]
    groups, names = ([call[key] for call in calls] for key in ("group", "name"))
    assert groups[0] == groups[1]
    assert len(set(groups)) == 5
    assert len(set(names)) == 6
    assert max(map(len, groups + names)) <= 128


@pytest.mark.parametrize(
    ("overrides", "group"),
    [
        (["optim.lr=1", "seed=3"], "mnist_bn/optim.lr-1.0"),
        (["seed=3"], "mnist_bn/default"),
        (["optim.lr=1", "seed=3", "logger.wandb.group=mine"], "mine"),
    ],
)
def test_the_group_is_the_run_directory_without_its_seed(opened, overrides, group):
    call = opened("experiment=mnist_bn", *overrides)
    assert call["group"] == group
    assert call["name"] == f"mnist_bn/{call['dir'].parent.name}/seed_3"
