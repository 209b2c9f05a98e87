"""The experiments of section 4.2: the config of each at each scale, as factors of the base."""

import dataclasses

import pytest

from bn.cli import planned_run
from bn.cli.arguments import choices_of
from bn.config import ImageData, InceptionModel, flatten, to_dict
from bn.errors import UserError
from bn.models import inception
from bn.tasks.optim import lr_schedule
from tests.conftest import slowly

NETWORKS = (
    "inception", "bn_baseline", "bn_x5", "bn_x30", "bn_x5_sigmoid", "inception_x5", "inception_sigmoid"
)  # fmt: skip
SCALES = ("imagenet", "tiny_imagenet", "cifar10", "smoke")
# The changes of section 4.2.1, each a switch, and the learning rates, as (base, changed) values.
BN = {"model.norm": ("none", "ghost")}
ALL_OF_4_2_1 = {
    "optim.weight_decay_factor": (1.0, 0.2),
    "optim.decay.speed": (1.0, 6.0),
    "model.dropout": (0.4, 0.0),
    "model.lrn": (True, False),
    "data.shuffle": ("by_shard", "within_shards"),
    "data.distortion": ("googlenet", "reduced"),
}
SIGMOID = {"model.nonlinearity": ("relu", "sigmoid")}
HALF = {"steps_factor": (1.0, 0.5)}  # (D) sufficient length for a 6x faster decay
CHANGES = {
    "inception": {},
    "bn_baseline": BN,
    "bn_x5": BN | ALL_OF_4_2_1 | HALF | {"optim.lr_factor": (1.0, 5.0)},
    "bn_x30": BN | ALL_OF_4_2_1 | HALF | {"optim.lr_factor": (1.0, 30.0)},
    "bn_x5_sigmoid": BN | ALL_OF_4_2_1 | HALF | {"optim.lr_factor": (1.0, 5.0)} | SIGMOID,
    "inception_x5": {"optim.lr_factor": (1.0, 5.0)},
    "inception_sigmoid": SIGMOID | {"steps_factor": (1.0, 0.2)},
}


# The keys that each file of configs/ablation reverts to the base's value.
SWITCHES = {
    "rate": "optim.lr_factor",
    "dropout": "model.dropout",
    "l2": "optim.weight_decay_factor",
    "decay": "optim.decay.speed",
    "lrn": "model.lrn",
    "shuffle": "data.shuffle",
    "distortion": "data.distortion",
}


def values(*overrides):
    return flatten(to_dict(planned_run(list(overrides)).config))


def test_the_experiments_and_scales_are_those_of_the_design():
    assert set(choices_of("experiment")) == {*NETWORKS, "ensemble", "mnist_baseline", "mnist_bn"}
    assert set(choices_of("scale")) == set(SCALES)


@pytest.mark.parametrize("scale", ["imagenet", *slowly("tiny_imagenet", "cifar10", "smoke")])
def test_each_experiment_is_its_factors_of_the_base(scale):
    base = values("experiment=inception", f"scale={scale}")
    assert base["data.name"] == base["scale"] == scale
    for experiment in NETWORKS:
        found = values(f"experiment={experiment}", f"scale={scale}")
        changed = {key: (base[key], value) for key, value in found.items() if base[key] != value}
        assert changed.pop("experiment", None) == (
            None if experiment == "inception" else ("inception", experiment)
        )
        assert changed == CHANGES[experiment], experiment


@pytest.mark.slow
@pytest.mark.parametrize(("experiment", "scale"), [("bn_x5", "cifar10"), ("bn_x30", "imagenet")])
def test_each_ablation_sets_its_switch_back_to_the_base_and_nothing_else(experiment, scale):
    base = values("experiment=inception", f"scale={scale}")
    whole = values(f"experiment={experiment}", f"scale={scale}")
    assert set(SWITCHES.values()) == {
        key
        for key, value in whole.items()
        if key not in ("experiment", "model.norm", "steps_factor") and base[key] != value
    }
    assert set(choices_of("ablation")) == {"none", *SWITCHES}
    assert values(f"experiment={experiment}", f"scale={scale}", "ablation=none") == whole
    for name, key in SWITCHES.items():
        found = values(f"experiment={experiment}", f"scale={scale}", f"ablation={name}")
        assert found == {**whole, key: base[key]}, name


def test_a_member_of_the_ensemble_can_be_ablated_too():
    found = values("experiment=ensemble", "scale=smoke", "member=2", "ablation=dropout")
    assert found == {**values("experiment=ensemble", "scale=smoke", "member=2"), "model.dropout": 0.4}


@pytest.mark.slow
@pytest.mark.parametrize("scale", ["cifar10", "imagenet", "tiny_imagenet", "smoke"])
def test_the_six_members_are_bn_x30_with_the_three_changes_spread_over_them(scale):
    base = values("experiment=bn_x30", f"scale={scale}")
    found = []
    for member in range(1, 7):
        member_values = values("experiment=ensemble", f"scale={scale}", f"member={member}")
        changed = {key for key, value in member_values.items() if base[key] != value}
        three = {"model.init_scale", "model.dropout", "model.per_activation"}
        assert changed - {"experiment", "member"} <= three
        assert changed & three  # "some of" the changes
        found.append(tuple(str(member_values[key]) for key in sorted(three)))
    assert len(set(found)) == 6
    dropouts, scales, per_activation = (set(column) for column in zip(*found, strict=True))
    assert dropouts == {"0.0", "0.05", "0.1"}  # "dropout 5% or 10%"
    assert (len(scales), len(per_activation)) == (2, 2)


def test_the_papers_numbers_at_its_own_scale():
    for experiment, rate in (
        ("inception", 0.0015),
        ("bn_baseline", 0.0015),
        ("bn_x5", 0.0075),
        ("bn_x30", 0.045),
    ):
        config = planned_run([f"experiment={experiment}", "scale=imagenet"]).config
        assert (config.optim.batch, config.optim.lr_batch, config.optim.momentum) == (256, 32, 0.9)
        assert config.steps * config.optim.batch == 31_000_000 * 32
        assert config.optim.initial_rate == pytest.approx(8 * rate, rel=1e-12)
        literal = dataclasses.replace(config.optim, batch=32)
        assert literal.initial_rate == pytest.approx(rate, rel=1e-12)
        for examples in (
            2560,
            32_000_000,
        ):  # same decay and eight times the learning rate, after the same number of examples
            ours, papers = (lr_schedule(o)(examples // o.batch + 1) for o in (config.optim, literal))
            assert ours == pytest.approx(8 * papers)
        assert isinstance(config.data, ImageData)
        assert (config.data.resize, config.data.crop, config.data.classes) == (256, 224, 1000)
        assert (config.data.area, config.data.aspect) == (0.08, pytest.approx(4 / 3))
        assert isinstance(config.model, InceptionModel)
        assert (config.model.width, config.model.stem_stride, config.model.stem_pools) == (1.0, 2, 2)
        assert (config.model.norm_group, config.model.pool_proj, config.model.stem) == (32, 96, "separable")


def test_the_papers_mini_batch_to_the_letter():
    config = planned_run(["experiment=bn_x5", "scale=imagenet", "optim.batch=32", "steps=31000000"]).config
    assert (config.optim.initial_rate, config.steps) == (pytest.approx(0.0075, rel=1e-12), 31_000_000)


def test_the_learning_rate_is_scaled_with_the_mini_batch():
    config = planned_run(["experiment=bn_x5", "scale=cifar10", "optim.batch=256", "optim.lr=0.002"]).config
    assert config.optim.initial_rate == pytest.approx(0.002 * 5 * 8)
    fixed = dataclasses.replace(config.optim, lr_batch=None)
    assert fixed.initial_rate == pytest.approx(0.002 * 5)


def test_the_path_of_an_image_run():
    def path(*overrides):
        return "/".join(planned_run(list(overrides)).path.parts[-3:])

    assert path("experiment=bn_x5", "scale=smoke") == "bn_x5/scale-smoke/seed_0"
    assert path("scale=smoke", "experiment=bn_x5", "seed=2", "optim.lr=0.003", "data.workers=7") == (
        "bn_x5/scale-smoke__optim.lr-0.003/seed_2"
    )
    assert path("experiment=ensemble", "scale=smoke", "member=3") == "ensemble/member-3__scale-smoke/seed_0"
    assert path("ablation=lrn", "experiment=bn_x5", "scale=smoke", "model.dropout=0.1") == (
        "bn_x5/ablation-lrn__scale-smoke__model.dropout-0.1/seed_0"
    )
    assert path("experiment=bn_x5", "scale=smoke", "data=cifar10") == "bn_x5/data-cifar10__scale-smoke/seed_0"


def test_another_folder_of_images_makes_another_run(tmp_path):
    """Otherwise a run could resume with other data, or be taken for a run on them."""
    planned = ["experiment=bn_x5", "scale=smoke", "data=cifar10", f"output={tmp_path}"]
    default, elsewhere = planned_run(planned), planned_run([*planned, "data.root=/scratch/a/b"])
    assert default.path.parent.name == "data-cifar10__scale-smoke"
    assert elsewhere.path.parent.name == "data-cifar10__scale-smoke__data.root-_scratch_a_b"
    assert planned_run([*planned, "data.root=data/cifar10"]).path == default.path
    elsewhere.open()
    elsewhere.close()
    like_it = planned_run([*planned, "data.root=/scratch/a_b"])
    assert like_it.path == elsewhere.path  # equal names; the saved config distinguishes them
    with pytest.raises(UserError, match=r"data\.root \(there /scratch/a/b, here /scratch/a_b\)"):
        like_it.check_config()


def test_every_unit_of_the_network_can_be_observed():
    """bn.config accepts exactly the names of the network, without importing torch."""
    units = list(inception(classes=10, width=0.01, size=28).units)
    config = planned_run(["experiment=bn_x5", "scale=smoke", f"probe.layers=[{','.join(units)}]"]).config
    assert list(config.probe.layers) == units
