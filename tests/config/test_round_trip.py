"""A config survives the round trip to YAML and back, as in config.yaml of a run directory."""

import json

import pytest
import yaml

from bn.config import Schedule, config_from, flatten, to_dict

CASES = [
    [],
    ["optim.lr=1e6", "model.bn_eps=1e-20", "optim.weight_decay=3e-7"],
    ["logger=wandb", "logger.wandb.tags=[a,'1']", "logger.wandb.group='null'", "logger.wandb.entity=me"],
    ["logger=[wandb,tensorboard]", "logger.tensorboard.flush_s=1"],
    ["model.hidden=[]", "evaluate.at.early=[]", "probe.percentiles=[0,12.5,100]"],
    ["seed=4294967295"],
]


@pytest.mark.parametrize("overrides", CASES, ids=lambda case: case[0] if case else "defaults")
def test_yaml_and_dict_and_back(planned, overrides):
    config = planned("experiment=mnist_bn", *overrides, output="/a: b #c").config
    assert config.output == "/a: b #c"
    assert config_from(to_dict(config)) == config
    assert config_from(yaml.safe_load(yaml.safe_dump(to_dict(config)))) == config
    assert config_from(json.loads(json.dumps(to_dict(config)))) == config


def test_a_dict_of_a_config_is_plain(planned):
    def kinds(value):
        if isinstance(value, dict):
            return {type(value)}.union(*map(kinds, value.values()))
        return {list}.union(*map(kinds, value)) if isinstance(value, list) else {type(value)}

    plain = to_dict(planned("experiment=mnist_bn", "logger=wandb").config)
    assert kinds(plain) == {dict, list, str, int, float, bool, type(None)}


def test_flatten_joins_keys_with_dots():
    nested = {"a": 1, "b": {"c": [1], "d": {"e": None}}}
    assert flatten(nested) == {"a": 1, "b.c": [1], "b.d.e": None}


def test_a_schedule_has_early_regular_and_last_steps():
    assert Schedule(early=(0, 3, 99), every=4).steps(10) == {0, 3, 4, 8, 10}
    assert Schedule(early=(), every=100).steps(7) == {7}
