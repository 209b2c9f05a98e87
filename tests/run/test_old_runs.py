"""Run directories outlive the schema: keys added later, and keys removed since.

`old_runs` contains two interrupted runs of commit d9b9fb1, before `steps_factor` and held-out images, whose
configs lack keys of today's schema.
"""

import json
import shutil
from pathlib import Path

import pytest
import yaml

from bn.config import config_from, recorded, to_dict
from bn.config.saved import REMOVED
from bn.errors import UserError
from bn.evaluate.trained import load_trained
from bn.run.directory import RunDirectory
from bn.train import train

OLD = Path(__file__).parent / "old_runs"
RUNS = ("mnist_bn", "bn_x5")


def config_of(name):
    return config_from(recorded(yaml.safe_load((OLD / name / "config.yaml").read_text())))


@pytest.fixture
def copied(tmp_path):
    def copy(name):
        shutil.copytree(OLD / name, tmp_path / name)
        return RunDirectory(tmp_path / name, config_of(name))

    return copy


@pytest.mark.parametrize("name", RUNS)
def test_the_old_configs_lack_keys_of_today(name):
    saved = yaml.safe_load((OLD / name / "config.yaml").read_text())
    assert "steps_factor" not in saved
    assert "steps_factor" in to_dict(config_of(name))


@pytest.mark.parametrize("name", RUNS)
def test_an_old_run_resumes(name, copied):
    run = copied(name)
    before = [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]
    run.check_config()
    run.open()
    try:
        train(run.config, run, progress=False)
    finally:
        run.close()
    after = [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]
    assert after[: len(before)] == before
    assert after[-1]["step"] == run.config.length
    assert run.status["state"] == "done"


def test_the_networks_of_an_old_checkpoint_load():
    trained = load_trained(OLD / "bn_x5")
    assert trained.step == 4
    assert trained.config == config_of("bn_x5")


def test_a_later_key_with_another_value_than_its_default_is_named(copied):
    run = copied("bn_x5")
    changed = config_from({**to_dict(run.config), "steps_factor": 0.5})
    with pytest.raises(UserError) as error:
        RunDirectory(run.path, changed).check_config()
    assert "steps_factor (there 1.0, here 0.5)" in str(error.value)
    assert "remove" not in str(error.value)


@pytest.mark.parametrize("key", ["gone", "optim.gone"])
def test_a_removed_key_counts_only_with_another_value_than_its_default(key, copied, monkeypatch):
    run = copied("mnist_bn")
    monkeypatch.setitem(REMOVED, key, 7)
    path = run.path / "config.yaml"
    saved = yaml.safe_load(path.read_text())
    group = saved["optim"] if "." in key else saved
    group["gone"] = 7
    path.write_text(yaml.safe_dump(saved))
    run.check_config()
    assert config_from(recorded(saved)) == run.config
    group["gone"] = 8
    path.write_text(yaml.safe_dump(saved))
    with pytest.raises(UserError, match=rf"{key} \(there 8, here absent\)"):
        run.check_config()
