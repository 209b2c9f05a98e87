"""Image runs: their records, how they end, and bit-exact resuming."""

import math
import signal

import numpy as np
import pytest
import torch

from bn.config import config_from
from bn.errors import Interrupted
from bn.models.build import build_model
from bn.run.checkpoint import list_checkpoints, load_checkpoint
from bn.run.directory import read_lines
from tests.conftest import slowly

SMOKE = (
    "scale=smoke", "model.width=0.1", "steps=12", "log_every=4", "checkpoint_every=5",
    "evaluate.at.every=6", "evaluate.population_batches=2", "probe.examples=32", "probe.at.early=[0]",
    "steps_factor=1",
    "probe.at.every=6",
)  # fmt: skip
NETWORKS = (
    "inception", "bn_baseline", "bn_x30", "bn_x5_sigmoid", "inception_x5", "inception_sigmoid"
)  # fmt: skip
MEMBERS = [f"member={member}" for member in range(1, 7)]


@pytest.mark.parametrize("experiment", ["bn_x5", *slowly(*NETWORKS)])
def test_each_network_takes_its_steps(trained, experiment):
    check_records(trained(f"experiment={experiment}", *SMOKE))


@pytest.mark.slow
@pytest.mark.parametrize("member", MEMBERS)
def test_each_member_of_the_ensemble_takes_its_steps(trained, member):
    check_records(trained("experiment=ensemble", member, *SMOKE))


def check_records(run):
    config = run.config
    lines = read_lines(run.path / "metrics.jsonl")
    assert run.status["state"] == "done"
    logged = [line for line in lines if "train/loss" in line]
    assert [line["step"] for line in logged] == [4, 8, 12]
    for line in logged:
        assert 0 < line["train/loss"] < 10
        assert line["train/images_per_second"] > 0
        assert line["train/gradient_norm"] > 0
        exponent = config.optim.decay.speed * (line["step"] - 1) / config.optim.decay.every
        rate = 0.0015 * config.optim.lr_factor * 0.96**exponent
        assert line["train/rate"] == pytest.approx(rate, rel=1e-12)
    evaluated = [line for line in lines if "validation/accuracy" in line]
    assert [line["step"] for line in evaluated] == [6, 12]
    last = evaluated[-1]
    for name in ("accuracy", "accuracy_top5"):  # of 500 images
        assert last[f"validation/{name}"] * 500 == pytest.approx(round(last[f"validation/{name}"] * 500))
    assert last["validation/accuracy"] <= last["validation/accuracy_top5"]
    with_bn = config.model.norm != "none"
    assert ("validation/accuracy_population" in last) == with_bn
    # The file alone describes its network.
    state = load_checkpoint(list_checkpoints(run.checkpoints)[-1])
    model = build_model(config_from(state["config"]))
    model.load_state_dict(state["model"])
    largest = max(p.abs().max().item() for p in model.parameters())
    assert last["train/largest_parameter"] == pytest.approx(largest, rel=1e-6)
    with np.load(run.activations) as record:
        assert record["steps"].tolist() == [0, 6, 12]
        assert record["inception_5b.conv_3x3"].shape == (3, 3, len(state["model"][LAYER]))


LAYER = "inception_5b.conv_3x3.conv.weight"  # (filters, ...)


NARROW = ("model.width=0.01",)  # eight filters everywhere
RESUMED = {
    "base: LRN, dropout": ("experiment=inception",),
    "bn_x5": ("experiment=bn_x5",),
    "two groups of 32": ("experiment=bn_x30", "optim.batch=64", "steps=9"),
    "bf16, NCHW": ("experiment=bn_x5", "precision=bf16", "channels_last=false", "steps=9", *NARROW),
    "over the end of an epoch": ("experiment=bn_x5", "optim.batch=256", "steps=9", *NARROW),
}


@pytest.mark.parametrize("case", ["bn_x5", *slowly(*(c for c in RESUMED if c != "bn_x5"))])
def test_stopped_and_resumed_to_the_same_bits(trained, stop_after, undisturbed, bits, case):
    overrides = (RESUMED[case][0], *SMOKE, *RESUMED[case][1:])
    for steps in (2, 5):
        with pytest.raises(Interrupted):
            trained(*overrides, stop_signal=stop_after(steps, signal.SIGTERM))
    assert bits(trained(*overrides)) == bits(undisturbed(*overrides))


def test_a_rate_too_high_for_the_base_is_recorded_as_divergence(trained):
    """As the paper reports for Inception at five times its learning rate, provoked here on small images."""
    run = trained("experiment=inception_x5", *SMOKE, "optim.lr=1", "steps=40", "evaluate.at.every=40")
    assert run.status["state"] == "diverged"
    assert "at step" in run.status["reason"]
    assert any(word in run.status["reason"] for word in ("nan", "inf"))
    assert run.status["step"] < 40
    for line in read_lines(run.path / "metrics.jsonl"):
        assert all(math.isfinite(value) for value in line.values())


@pytest.mark.slow
def test_the_same_rate_does_not_break_the_network_with_bn(trained):
    run = trained("experiment=bn_x5", *SMOKE, "optim.lr=1", "steps=30", "evaluate.at.every=30")
    assert run.status["state"] == "done"


def test_logged_gradient_norm(trained):
    """Of the step's own mini-batch: one step without momentum or L2 moves W by learning rate x gradient."""
    overrides = (
        "experiment=bn_x5", *SMOKE, "steps=1", "log_every=1", "optim.momentum=0", "optim.weight_decay=0",
    )  # fmt: skip
    run = trained(*overrides)
    before = dict(build_model(run.config).named_parameters())
    after = load_checkpoint(list_checkpoints(run.checkpoints)[-1])["model"]
    moved = sum(((after[name] - p.detach()).double() ** 2).sum() for name, p in before.items())
    (line,) = read_lines(run.path / "metrics.jsonl")
    norm = math.sqrt(moved) / line["train/rate"]
    assert line["train/gradient_norm"] == pytest.approx(norm, rel=1e-3)


def test_ghost_statistics_of_a_large_mini_batch_follow_the_linear_rate(planned):
    from bn.tasks import build_task
    from bn.tasks.header import run_header

    run = planned("experiment=bn_x5", *SMOKE, "optim.batch=64")
    task = build_task(run.config, torch.device("cpu"), 0)
    assert "learning rate 0.015 = 0.0075 x 64/32, scaled with the mini-batch" in run_header(
        run.config, run, "cpu", task, 0
    )
