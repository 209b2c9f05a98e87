"""A wrong config is refused in one line with the key and the accepted values."""

import copy
import math

import pytest

from bn.cli import planned_run
from bn.config import MnistData, config_from, to_dict
from bn.errors import UserError


@pytest.fixture(scope="module")
def mapping():
    """Returns a config as plain values with some keys replaced: `mapping({"optim.lr": -1})`."""
    plain = to_dict(planned_run(["experiment=mnist_bn"]).config)

    def changed(changes):
        result = copy.deepcopy(plain)
        for key, value in changes.items():
            *path, last = key.split(".")
            group = result
            for name in path:
                group = group[name]
            group[last] = value
        return result

    return changed


WRONG = [
    # unknown key
    (
        {"optim.learning_rate": 0.1},
        "optim.learning_rate: unknown key; accepted: name, lr, lr_factor, lr_batch, decay, batch, momentum, "
        "weight_decay, weight_decay_factor",
    ),
    ({"evaluate.at.often": 1}, "evaluate.at.often: unknown key; accepted: early, every"),
    ({"logger.mode": "offline"}, "logger.mode: unknown key; accepted: wandb, tensorboard"),
    # wrong type
    ({"optim.lr": "fast"}, "optim.lr='fast': accepted: float > 0, <= 1e30"),
    ({"optim.lr": "0.1"}, "optim.lr='0.1': accepted: float > 0, <= 1e30"),
    ({"optim.lr": True}, "optim.lr=true: accepted: float > 0, <= 1e30"),
    ({"optim.lr": None}, "optim.lr=null: accepted: float > 0, <= 1e30"),
    ({"optim.lr": [0.1]}, "optim.lr=[0.1]: accepted: float > 0, <= 1e30"),
    ({"seed": "3"}, "seed='3': accepted: int >= 0, <= 4294967295"),
    ({"seed": True}, "seed=true: accepted: int >= 0, <= 4294967295"),
    ({"seed": 3.0}, "seed=3.0: accepted: int >= 0, <= 4294967295, written 3"),
    ({"cuda_graph": 1}, "cuda_graph=1: accepted: true, false"),
    ({"cuda_graph": "true"}, "cuda_graph='true': accepted: true, false"),
    ({"output": 3}, "output=3: accepted: a path"),
    ({"optim": 0.1}, "optim=0.1: accepted: a group of keys"),
    # out of range, at and beyond each limit
    ({"optim.lr": 0.0}, "optim.lr=0.0: accepted: float > 0, <= 1e30"),
    ({"optim.lr": -1}, "optim.lr=-1.0: accepted: float > 0, <= 1e30"),
    ({"seed": -1}, "seed=-1: accepted: int >= 0, <= 4294967295"),
    ({"steps": 0}, "steps=0: accepted: int >= 1, <= 1e9"),
    ({"optim.batch": 1}, "optim.batch=1: accepted: int >= 2, <= 65536"),
    ({"optim.momentum": 1.0}, "optim.momentum=1.0: accepted: float >= 0, < 1"),
    ({"model.bn_momentum": 0.0}, "model.bn_momentum=0.0: accepted: float > 0, <= 1"),
    ({"model.bn_momentum": 1.01}, "model.bn_momentum=1.01: accepted: float > 0, <= 1"),
    ({"data.validation": 50001}, "data.validation=50001: accepted: int >= 0, <= 50000"),
    # not finite
    ({"optim.lr": math.nan}, "optim.lr=nan: accepted: float > 0, <= 1e30"),
    ({"optim.lr": math.inf}, "optim.lr=inf: accepted: float > 0, <= 1e30"),
    ({"optim.weight_decay": -math.inf}, "optim.weight_decay=-inf: accepted: float >= 0, <= 1000"),
    # a choice
    ({"device": "gpu"}, "device='gpu': accepted: auto, cpu, cuda"),
    ({"device": None}, "device=null: accepted: auto, cpu, cuda"),
    ({"model.norm": "weight"}, "model.norm='weight': accepted: none, batch, ghost, layer, group, population"),
    ({"model.nonlinearity": ["relu"]}, "model.nonlinearity=[relu]: accepted: relu, sigmoid, tanh, gelu"),
    # items of a list
    ({"model.hidden": 100}, "model.hidden=100: accepted: a list of int >= 1, <= 65536"),
    ({"model.hidden": "100"}, "model.hidden='100': accepted: a list of int >= 1, <= 65536"),
    ({"model.hidden": [100, 0]}, "model.hidden[1]=0: accepted: int >= 1, <= 65536"),
    ({"model.hidden": [100.0]}, "model.hidden[0]=100.0: accepted: int >= 1, <= 65536, written 100"),
    ({"probe.percentiles": [15, 101]}, "probe.percentiles[1]=101.0: accepted: float >= 0, <= 100"),
    ({"evaluate.at.early": [-5]}, "evaluate.at.early[0]=-5: accepted: int >= 0, <= 1e9"),
    # a union of groups, selected by name
    ({"model": {"name": "resnet"}}, "model.name='resnet': accepted: mlp, inception"),
    ({"model": {"name": ["mlp"]}}, "model.name=[mlp]: accepted: mlp, inception"),
    ({"model": {}}, "model.name=null: accepted: mlp, inception"),
    ({"model": "nothing"}, "model.name='nothing': accepted: mlp, inception"),
    ({"model": {"name": "mlp"}}, "model.hidden: missing"),
    # a group that may be absent
    ({"logger": "nothing"}, "logger='nothing': accepted: a group of keys"),
    ({"logger": {"wandb": {}}}, "logger.wandb.mode: missing"),
    ({"logger": {"tensorboard": 3}}, "logger.tensorboard=3: accepted: a group of keys"),
    # incompatible values
    (
        {"evaluate.at.early": [0, 100]},
        "evaluate.at.early=0: accepted: steps from 1 (before it there are no moving averages)",
    ),
    (
        {"step_path": "fused", "optim.momentum": 0.9},
        "step_path=fused: optim.momentum=0.9 needs step_path=autograd or auto",
    ),
    (
        {"data.validation": 50000, "optim.batch": 10001},
        "optim.batch=10001: accepted: at most the 10000 training examples",
    ),
    (
        {"data.validation": 50000, "probe.examples": 10001},
        "probe.examples=10001: accepted: at most the 10000 training examples",
    ),
    (
        {"data.validation": 10000, "data.examples": 50001},
        "data.examples=50001: accepted: at most the 50000 not held out",
    ),
    (
        {"data.examples": 1000, "probe.examples": 1001},
        "probe.examples=1001: accepted: at most the 1000 training examples",
    ),
    (
        {"data.examples": 59, "probe.examples": 50},
        "optim.batch=60: accepted: at most the 59 training examples",
    ),
    (
        {"model.norm": "none", "model.norm_place": "after"},
        "model.norm_place=after: accepted with model.norm=none: before",
    ),
    (
        {"model.norm": "group", "model.norm_place": "input"},
        "model.norm_groups=10: accepted with a layer of 784 features: its divisors less than itself",
    ),
]


@pytest.mark.parametrize(("changes", "line"), WRONG, ids=[line.split(":")[0] for _, line in WRONG])
def test_each_error_is_one_line_with_key_and_accepted_values(mapping, changes, line):
    with pytest.raises(UserError) as error:
        config_from(mapping(changes))
    assert str(error.value) == line


@pytest.mark.parametrize("key", ["seed", "optim", "optim.lr", "evaluate.at.every", "model.name"])
def test_each_missing_key_is_named(mapping, key):
    plain = mapping({})
    *path, last = key.split(".")
    group = plain
    for name in path:
        group = group[name]
    del group[last]
    with pytest.raises(UserError) as error:
        config_from(plain)
    accepted = {"model.name": "mlp, inception"}.get(key)
    assert str(error.value) == (f"{key}=null: accepted: {accepted}" if accepted else f"{key}: missing")


def test_limits_and_ints_for_floats_are_accepted(mapping):
    config = config_from(
        mapping(
            {
                "model.bn_momentum": 1,
                "optim.momentum": 0,
                "optim.batch": 2,
                "data.validation": 50000,
                "seed": 0,
            }
        )
    )
    assert isinstance(config.data, MnistData)
    assert (config.model.bn_momentum, config.optim.momentum) == (1.0, 0.0)
    assert (config.optim.batch, config.data.validation, config.seed) == (2, 50000, 0)
    assert type(config.model.bn_momentum) is float
