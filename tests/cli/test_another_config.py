"""A run directory with another config is refused with the keys that differ; logging may change."""

import pytest
import yaml

from bn.config import to_dict
from bn.errors import UserError, listed


@pytest.fixture
def saved(planned):
    """A run directory whose config.yaml has some keys changed, as if from an older version."""

    def make(**changes):
        run = planned("experiment=mnist_bn")
        config = to_dict(run.config)
        for key, value in changes.items():
            *path, last = key.split("__")
            group = config
            for name in path:
                group = group[name]
            if value is None:
                del group[last]
            else:
                group[last] = value
        run.path.mkdir(parents=True)
        (run.path / "config.yaml").write_text(yaml.safe_dump(config))
        return run

    return make


def test_each_key_that_differs_is_named_with_both_values(saved):
    run = saved(optim__lr=0.2, steps=7, cuda_graph=None, extra=1)
    with pytest.raises(UserError) as error:
        run.check_config()
    line = str(error.value)
    assert "\n" not in line
    assert line.startswith(f"{run.name}: contains a run with another config: ")
    assert "optim.lr (there 0.2, here 0.1)" in line
    assert "steps (there 7, here 120)" in line
    assert "cuda_graph (there absent, here true)" in line
    assert "extra (there 1, here absent)" in line
    assert "seed (" not in line


def test_another_output_data_root_or_logger_is_accepted(saved):
    saved(output="/elsewhere", data__root="/data", logger={"name": "wandb", "mode": "offline"}).check_config()


@pytest.mark.parametrize("text", ["", "[1, 2]", "a: [", "3"])
def test_a_damaged_config_is_one_line(saved, text):
    run = saved()
    (run.path / "config.yaml").write_text(text)
    with pytest.raises(UserError, match=r"config\.yaml: damaged") as error:
        run.check_config()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("sweep", [[], ["-m"]], ids=["run", "sweep"])
def test_the_command_is_refused_and_changes_nothing(command, saved, tmp_path, snapshot, sweep):
    run = saved(optim__lr=0.2)
    before = snapshot(tmp_path)
    arguments = [
        f"{key}={value}".replace(" ", "")
        for key, value in {
            "steps": 120, "evaluate.at.early": [], "evaluate.at.every": 60, "evaluate.population_batches": 10,
            "probe.at.early": [0, 30], "probe.at.every": 60, "probe.examples": 600, "log_every": 20,
            "checkpoint_every": 40, "device": "cpu",
        }.items()
    ]  # fmt: skip
    code, out, err = command(*sweep, "experiment=mnist_bn", *arguments, f"output={tmp_path}/runs")
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert "contains a run with another config: optim.lr (there 0.2, here 0.1)" in err
    assert run.path.name in err
    assert snapshot(tmp_path) == before


def test_a_long_list_of_keys_is_abbreviated():
    names = [f"key{i}" for i in range(20)]
    assert listed(names[:12]) == ", ".join(names[:12])
    assert listed(names) == f"{', '.join(names[:12])}, and 8 more"
