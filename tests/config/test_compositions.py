"""Every experiment, sweep and logger in configs/ composes to a valid config."""

import itertools

import pytest

from bn.cli import planned_run, planned_runs
from bn.cli.arguments import choices_of
from bn.config import Config, MlpModel, MnistData, flatten, to_dict
from bn.files import REPOSITORY
from tests.conftest import config_names, slowly

CONFIGS = REPOSITORY / "configs"
NETWORKS = ("mnist_baseline", "mnist_bn")


def test_the_experiments_are_those_of_the_paper():
    assert set(NETWORKS) <= set(choices_of("experiment"))
    assert choices_of("experiment") == config_names("experiment")


@pytest.mark.parametrize("logger", config_names("logger"))
@pytest.mark.parametrize("experiment", NETWORKS)
def test_each_experiment_with_each_logger(experiment, logger):
    config = planned_run([f"experiment={experiment}", f"logger={logger}"]).config
    assert isinstance(config, Config)
    chosen = [name for name, choice in to_dict(config.logger).items() if choice is not None]
    assert (config.experiment, chosen) == (experiment, [logger] if logger != "none" else [])


def test_the_networks_of_figure_1_are_those_of_section_4_1():
    baseline, bn = (planned_run([f"experiment={name}"]).config for name in NETWORKS)
    assert (baseline.model.norm, bn.model.norm) == ("none", "batch")
    for config in (baseline, bn):
        assert isinstance(config.model, MlpModel)
        assert isinstance(config.data, MnistData)
        assert (config.model.hidden, config.model.nonlinearity) == ((100, 100, 100), "sigmoid")
        assert (config.optim.batch, config.steps, config.optim.momentum) == (60, 50_000, 0.0)
        assert (config.optim.weight_decay, config.data.validation, config.seed) == (0.0, 0, 0)
        assert config.probe.percentiles == (15, 50, 85)


ABLATIONS = {"decay", "distortion", "dropout", "l2", "lrn", "none", "rate", "shuffle"}


@pytest.mark.parametrize("name", ["dropout", *slowly(*sorted(ABLATIONS - {"none", "dropout"}))])
def test_a_switch_set_is_that_of_bn_x5_and_set_back_that_of_the_baseline(name):
    """Ignores the length, which is not a switch of section 4.2.1."""

    def differences(one, other):
        one, other = (flatten(to_dict(planned_run([*o, "scale=smoke"]).config)) for o in (one, other))
        return {key for key in one if one[key] != other[key]} - {"experiment", "steps_factor"}

    bn_x5, baseline = ["experiment=bn_x5"], ["experiment=bn_baseline"]
    back, added = [*bn_x5, f"ablation={name}"], [*baseline, f"switch={name}"]
    changed = differences(bn_x5, back)
    assert len(changed) == 1
    assert differences(baseline, added) == changed
    assert differences(bn_x5, added) == differences(baseline, back) == differences(bn_x5, baseline) - changed


def test_a_scale_replaces_that_of_a_sweep():
    (run,) = planned_runs("figure2", ["scale=smoke", "experiment=bn_x5", "seed=4"])
    assert (run.config.scale, run.config.data.name, run.config.seed) == ("smoke", "smoke", 4)


def test_an_axis_on_the_command_line_replaces_that_of_the_file():
    runs = planned_runs("figure1", ["seed=7", "optim.lr=0.1,1"])
    assert {(run.config.experiment, run.config.seed, run.config.optim.lr) for run in runs} == set(
        itertools.product(NETWORKS, [7], [0.1, 1.0])
    )
