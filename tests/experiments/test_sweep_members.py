"""The members of every sweep in configs/sweep, and the committed records of those that have been trained.

In one file, so that one process composes each member once.
"""

import itertools
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest
from hydra import initialize_config_dir

from bn.cli import composed_config, members, planned_runs
from bn.config import MlpModel, MnistData, flatten, to_dict
from bn.files import REPOSITORY
from experiments import EXPERIMENTS, batch_size, fair_comparison, groups
from experiments.drawing import RESULTS, has_records
from tests.conftest import config_names, slowly

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
    "groups_60": 2 * 4,
    "groups_1000": 3 * 4,
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
    "inception_adaptation": 6 * 3,
    "inside_inception": 2 * 2 * 3,
    "inside_sigmoid": 3,
    "initial_weights": 2 * 3 * 3 * 3,
}
ABLATIONS = {"decay", "distortion", "dropout", "l2", "lrn", "none", "rate", "shuffle"}
COMMITTED = [
    name
    for name, e in EXPERIMENTS.items()
    if hasattr(e, "SWEEPS") and has_records(name, e) and name != "figure1"
]
TELLING = (
    "experiment", "scale", "member", "seed", "steps", "data.name", "model.norm", "model.norm_group",
    "model.init_std", "model.init_scale",
    "model.dropout", "model.lrn", "data.shuffle", "data.distortion", "data.validation", "optim.name",
    "optim.momentum", "optim.batch", "optim.lr", "optim.lr_factor", "evaluate.population",
    "optim.weight_decay_factor", "optim.decay.every", "optim.decay.speed", "model.norm_place",
    "model.nonlinearity", "data.examples", "data.inputs",
)  # fmt: skip


def test_every_sweep_file_has_its_members_stated_here():
    stated = [*SWEEPS, *IMAGE_SWEEPS, *GRIDS, *ARGUMENTS, "ablation", "switches"]
    assert config_names("sweep") == sorted(stated)


@pytest.mark.parametrize(
    ("sweep", "count"), [("figure1", 10), ("fair_comparison", 144), ("fair_comparison_chosen", 14)]
)
def test_the_number_of_members(sweep, count):
    arguments = [f"sweep={sweep}"]
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        overrides = members(composed_config(arguments).hydra.sweeper.params, arguments)
    assert len({tuple(sorted(member)) for member in overrides}) == len(overrides) == count
    assert len(SWEEPS[sweep]) == count


@pytest.mark.parametrize("sweep", ["what_came_after", *slowly(*sorted({*ARGUMENTS} - {"what_came_after"}))])
def test_the_sweeps_of_the_arguments_have_different_members(sweep):
    runs = planned_runs(sweep)
    assert len({run.path for run in runs}) == len(runs) == ARGUMENTS[sweep]


@pytest.mark.slow
def test_every_size_of_the_mini_batch_sees_as_many_examples():
    sweeps = [(f"batch_size_{size}", size, []) for size in batch_size.SIZES]
    sweeps += [(f"groups_{size}", size, ["model.norm_group=2"]) for size in groups.GROUPS]
    for sweep, size, axes in sweeps:
        (run,) = planned_runs(sweep, [*axes, "optim.lr=1"])
        config = run.config
        assert (config.optim.batch, config.optim.batch * config.length) == (size, 210_000)
        assert size * config.evaluate.population_batches == 18_000


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
    assert set(config_names(group)) == ABLATIONS
    assert len({run.path for run in runs}) == len(runs) == len(ABLATIONS) * 3
    assert {(run.config.experiment, run.config.scale) for run in runs} == {(experiment, "cifar10")}
    of_figure2 = planned_runs("figure2", [f"experiment={experiment}"])
    assert [(run.path, run.config) for run in runs if run.path.parent.name == "scale-cifar10"] == [
        (run.path, run.config) for run in of_figure2
    ]
    found = {(run.path.parent.name, run.config.seed) for run in runs}
    switches = {"__".join(sorted(("scale-cifar10", f"{group}-{name}"))) for name in ABLATIONS - {"none"}}
    assert found == set(itertools.product({*switches, "scale-cifar10"}, range(3)))


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


@pytest.mark.parametrize("name", ["figure1", *slowly(*COMMITTED)])
def test_committed_results_are_of_their_sweeps_and_honest(name: str) -> None:
    """Each run is another one of the sweeps', ended, from committed code; those on MNIST are all there."""
    check_runs(RESULTS / name / "runs.json", EXPERIMENTS[name].SWEEPS.items())


@pytest.mark.slow
def test_the_committed_further_seeds_are_those_of_the_chosen_settings_and_of_the_sweep_file() -> None:
    folder = RESULTS / "fair_comparison"
    check_runs(folder / "further_seeds_runs.json", fair_comparison.further_sweeps(folder))
    check_runs(folder / "further_seeds_runs.json", [("fair_comparison_chosen", ())])


def check_runs(path: Path, sweeps: Iterable[tuple[str, Sequence[str]]]) -> None:
    from bn.cli import planned_runs

    document = json.loads(path.read_text())
    runs = document["runs"]
    configs = [document["config"] | run["config"] for run in runs]
    telling = [key for key in TELLING if all(key in each for each in configs)]  # older ones lack later keys
    found = [tuple(config[key] for key in telling) for config in configs]
    planned = [flatten(to_dict(run.config)) for sweep, axes in sweeps for run in planned_runs(sweep, axes)]
    wanted = {tuple(config.get(key) for key in telling) for config in planned}
    assert len(set(found)) == len(found)
    assert set(found) <= wanted
    assert configs[0].get("scale") or set(found) == wanted
    assert all(run["dirty"] is False for run in runs)
    states = {"done", "diverged", "interrupted"} if path.parent.name == "base_rate" else {"done", "diverged"}
    assert {run["state"] for run in runs} <= states
