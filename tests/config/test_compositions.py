"""Every experiment, sweep and logger in configs/ composes into a config that passes the checks."""

import itertools
from pathlib import Path

import pytest
from hydra import initialize_config_dir

from bn.cli import composed_config, members, planned_run, planned_runs
from bn.cli.help import names_of
from bn.config import Config, MlpModel, MnistData, flatten, to_dict
from bn.run.directory import REPOSITORY
from tests.conftest import slowly

CONFIGS = REPOSITORY / "configs"
NETWORKS = ("mnist_baseline", "mnist_bn")
SWEEPS = {
    "figure1": set(itertools.product(NETWORKS, [0.1], [0.1], range(5))),
    "fair_comparison": set(
        itertools.product(NETWORKS, [0.03, 0.1, 0.2, 0.5, 1, 2, 5, 10], [0.01, 0.03, 0.1], range(3))
    ),
    "covariate_shift": set(
        itertools.product(NETWORKS, [0.03, 0.1, 0.2, 0.5, 1, 2, 5, 10], [0.01, 0.03, 0.1], range(5))
    ),
    "inside_mlp": set(itertools.product(NETWORKS, [0.1], [0.1], range(5))),
    "weight_growth": set(itertools.product(NETWORKS, [1, 10], [0.1], range(5))),
    "fair_comparison_chosen": set(itertools.product(NETWORKS, [2], [0.1], range(3, 10))),
}


def names(group):
    return sorted(path.stem for path in Path(CONFIGS / group).glob("*.yaml"))


def test_the_experiments_are_those_of_the_paper():
    assert set(NETWORKS) <= set(names_of("experiment"))
    assert names_of("experiment") == names("experiment")


@pytest.mark.parametrize("logger", names("logger"))
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


IMAGES = (
    "inception", "bn_baseline", "bn_x5", "bn_x30", "bn_x5_sigmoid", "inception_x5", "inception_sigmoid"
)  # fmt: skip
IMAGE_SWEEPS = {
    "figure2": set(itertools.product(IMAGES, ["cifar10"], [None], range(3))),
    "ensemble": set(itertools.product(["ensemble"], ["cifar10"], range(1, 7), [0])),
}
GRIDS = ("base_rate", "full_length", "lrn", "paper_rate", "rate_tolerance")
ARGUMENTS = {  # sweeps of docs/why.md: members
    "optimizers": 4 * 2 * 5,
    "optimizers_chosen": 5,
    **{f"batch_size_{size}": 3 for size in (2, 10, 60, 250, 1000)},
    "moving_averages": 3 * 5,
    "what_came_after": 2 * 5,
    "what_came_after_chosen": 5,
    "fashion": 2 * 5,
    "placement": 3 * 3 * 5,
    "placement_relu": 3 * 5,
    "placement_without": 2 * 2 * 5,
    "regularization": 2 * 2 * 3 * 5,
    "regularization_population": 3 * 5,
    "whitening": 3 * 8,
    "whitening_chosen": 4,
    "adaptation": 6 * 5,
    "inside_inception": 2 * 2 * 3,
    "initial_weights": 2 * 3 * 3,
}
ABLATIONS = {"decay", "distortion", "dropout", "l2", "lrn", "none", "rate", "shuffle"}


def test_every_sweep_file_has_its_members_stated_here():
    assert names("sweep") == sorted([*SWEEPS, *IMAGE_SWEEPS, *GRIDS, *ARGUMENTS, "ablation", "switches"])


@pytest.mark.parametrize("sweep", ["what_came_after", *slowly(*sorted({*ARGUMENTS} - {"what_came_after"}))])
def test_the_sweeps_of_the_arguments_have_different_members(sweep):
    runs = planned_runs(sweep)
    assert len({run.path for run in runs}) == len(runs) == ARGUMENTS[sweep]


def test_every_size_of_the_mini_batch_sees_as_many_examples():
    for size in (2, 10, 60, 250, 1000):
        (run,) = planned_runs(f"batch_size_{size}", ["optim.lr=1"])
        config = run.config
        assert (config.optim.batch, config.optim.batch * config.length) == (size, 210_000)
        assert size * config.evaluate.population_batches == 18_000


@pytest.mark.parametrize("sweep", ["ensemble", *slowly("figure2")])
def test_the_members_of_the_image_sweeps(sweep):
    configs = [run.config for run in planned_runs(sweep)]
    found = [(config.experiment, config.scale, config.member, config.seed) for config in configs]
    assert len(found) == len(IMAGE_SWEEPS[sweep])
    assert set(found) == IMAGE_SWEEPS[sweep]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sweep", "group", "experiment"),
    [("ablation", "ablation", "bn_x5"), ("switches", "switch", "bn_baseline")],
)
def test_each_switch_of_421_with_each_seed_and_none_of_it_is_figure_2s(sweep, group, experiment):
    runs = planned_runs(sweep)
    assert set(names(group)) == ABLATIONS
    assert len({run.path for run in runs}) == len(runs) == len(ABLATIONS) * 3
    assert {(run.config.experiment, run.config.scale) for run in runs} == {(experiment, "cifar10")}
    of_figure2 = planned_runs("figure2", [f"experiment={experiment}"])
    assert [(run.path, run.config) for run in runs if run.path.parent.name == "scale-cifar10"] == [
        (run.path, run.config) for run in of_figure2
    ]
    found = {(run.path.parent.name, run.config.seed) for run in runs}
    switches = {"__".join(sorted(("scale-cifar10", f"{group}-{name}"))) for name in ABLATIONS - {"none"}}
    assert found == set(itertools.product({*switches, "scale-cifar10"}, range(3)))


@pytest.mark.parametrize("name", ["dropout", *slowly(*sorted(ABLATIONS - {"none", "dropout"}))])
def test_a_switch_set_is_that_of_bn_x5_and_set_back_that_of_the_baseline(name):
    """Length apart: it is no switch of section 4.2.1."""

    def differences(one, other):
        one, other = (flatten(to_dict(planned_run([*o, "scale=smoke"]).config)) for o in (one, other))
        return {key for key in one if one[key] != other[key]} - {"experiment", "steps_factor"}

    bn_x5, baseline = ["experiment=bn_x5"], ["experiment=bn_baseline"]
    back, added = [*bn_x5, f"ablation={name}"], [*baseline, f"switch={name}"]
    changed = differences(bn_x5, back)
    assert len(changed) == 1
    assert differences(baseline, added) == changed
    assert differences(bn_x5, added) == differences(baseline, back) == differences(bn_x5, baseline) - changed


@pytest.mark.slow
def test_the_grids_of_rates():
    base, tolerance = planned_runs("base_rate"), planned_runs("rate_tolerance")
    assert {run.config.experiment for run in base} == {"inception"}
    assert {run.config.data.validation for run in base} == {5000}
    assert len({run.config.optim.lr for run in base}) >= 5
    assert {run.config.optim.lr_factor for run in tolerance} == {1, 2, 5, 10, 30, 100, 300}
    assert {run.config.length for run in tolerance} == {600}
    assert len({run.path for run in (*base, *tolerance)}) == 6 * 3 + 3 * 7 * 3
    papers = planned_runs("paper_rate")
    assert {run.config.optim.lr for run in papers} == {0.0015}
    assert len({run.path for run in papers}) == 4 * 3
    longer = planned_runs("full_length")
    assert {run.config.length for run in longer} == {15_600}
    assert len({run.path for run in longer}) == 2 * 3


def test_another_scale_takes_the_place_of_a_sweeps():
    (run,) = planned_runs("figure2", ["scale=smoke", "experiment=bn_x5", "seed=4"])
    assert (run.config.scale, run.config.data.name, run.config.seed) == ("smoke", "smoke", 4)


@pytest.mark.parametrize(
    ("sweep", "count"), [("figure1", 10), ("fair_comparison", 144), ("fair_comparison_chosen", 14)]
)
def test_the_number_of_members(sweep, count):
    arguments = [f"sweep={sweep}"]
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        overrides = members(composed_config(arguments).hydra.sweeper.params, arguments)
    assert len({tuple(sorted(member)) for member in overrides}) == len(overrides) == count
    assert len(SWEEPS[sweep]) == count


@pytest.mark.parametrize("sweep", ["figure1", "fair_comparison_chosen", *slowly("fair_comparison")])
def test_the_members_with_bn_and_the_last_seed(sweep):
    last = max(seed for *_, seed in SWEEPS[sweep])
    runs = planned_runs(sweep, ["experiment=mnist_bn", f"seed={last}"])  # composing all 144 takes ten seconds
    found = [values(run.config) for run in runs]
    assert len(found) == len(set(found))
    assert set(found) == {m for m in SWEEPS[sweep] if (m[0], m[-1]) == ("mnist_bn", last)}
    assert len({run.path for run in runs}) == len(runs)
    held_out = {run.config.data.validation for run in runs if isinstance(run.config.data, MnistData)}
    assert held_out == ({0} if sweep == "figure1" else {10_000})


def values(config):
    assert isinstance(config.model, MlpModel)
    return config.experiment, config.optim.lr, config.model.init_std, config.seed


def test_an_axis_on_the_command_line_takes_the_place_of_the_files():
    runs = planned_runs("figure1", ["seed=7", "optim.lr=0.1,1"])
    assert {(run.config.experiment, run.config.seed, run.config.optim.lr) for run in runs} == set(
        itertools.product(NETWORKS, [7], [0.1, 1.0])
    )
