"""Two ranks equal one process with two ghost groups; statistics and evaluations cover all ranks."""

import copy
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F
from torch.testing import assert_close

from bn.tasks import build_task
from tests.conftest import composed
from tests.distributed.conftest import NETWORK


@pytest.mark.slow
def test_two_ranks_equal_one_process_that_adds_the_gradients_of_two_groups(together):
    """Bit-exact parameters and statistics of each rank, over four steps with momentum."""
    overrides = ("optim.momentum=0.9",)
    ranks = together(2, "trained_task", overrides, 4)
    task: Any = build_task(composed((*NETWORK, *overrides)).config, torch.device("cpu"), 0)
    twins = [copy.deepcopy(task.model) for _ in range(2)]  # one for the statistics of each group
    optimizer = task.step.optimizer
    for n in range(4):
        images, labels = task.images.batch(n)
        images = images.contiguous(memory_format=torch.channels_last)
        gradients = []
        for twin, x, y in zip(twins, images.split(8), labels.split(8), strict=True):
            for mine, his in zip(task.model.parameters(), twin.parameters(), strict=True):
                his.data.copy_(mine)
            twin.zero_grad()
            F.cross_entropy(twin(x), y).backward()
            gradients.append([p.grad for p in twin.parameters()])
        for p, first, second in zip(task.model.parameters(), *gradients, strict=True):
            p.grad = (first + second) / 2
        task.step.set_lr(task.lr(n + 1))
        optimizer.step()
    parameters = {name for name, _ in task.model.named_parameters()}
    for (own, _, _), twin in zip(ranks, twins, strict=True):
        for name, tensor in task.model.state_dict().items():
            expected = tensor if name in parameters else twin.state_dict()[name]
            assert torch.equal(own[name], expected), name


@pytest.mark.slow
def test_two_ranks_equal_one_process_with_two_ghost_groups(together):
    """In one pass, up to float64 rounding; its moving averages are the mean of the ranks'."""
    overrides = ()
    first, second = together(2, "float64_steps", overrides, 4)
    one = together(1, "float64_steps", overrides, 4)
    for name, tensor in one.items():
        mean = (first[name] + second[name]) / 2 if tensor.is_floating_point() else first[name]
        assert_close(mean, tensor, rtol=1e-9, atol=1e-11, msg=name)
        if not name.endswith(("running_mean", "running_var")):
            assert torch.equal(first[name], second[name]), name


def test_the_mean_statistics_are_the_same_on_all_ranks_and_leave_no_trace(together):
    ranks = together(3, "trained_task", ("optim.batch=24",), 2)
    for own, mean, after in ranks:
        for name, tensor in own.items():
            assert torch.equal(after[name], tensor), name
            assert torch.equal(mean[name], ranks[0][1][name]), name
            if name.endswith(("running_mean", "running_var")):
                each = torch.stack([own[name] for own, _, _ in ranks])
                assert_close(mean[name], each.double().mean(0).float(), rtol=1e-7, atol=0)
                assert not torch.equal(each[0], each[1])


@pytest.mark.parametrize("count", [101, 2])
def test_shares_of_any_size_are_counted_exactly(together, count):
    """101 points divide unevenly among three ranks; with 2 points one rank has none."""
    one = together(1, "classified", (), count)
    for found in together(3, "classified", (), count):
        assert (found["accuracy"], found["accuracy_top5"]) == (one["accuracy"], one["accuracy_top5"])
        assert found["loss"] == pytest.approx(one["loss"], rel=1e-14)


def test_validation_is_divided_without_padding(together):
    """500 images on three ranks."""
    overrides = ("optim.batch=24",)
    one = together(1, "evaluated", overrides)
    assert 0 < one["validation/accuracy"] < one["validation/accuracy_top5"] < 1
    for found in together(3, "evaluated", overrides):
        assert found == {**one, "validation/loss": pytest.approx(one["validation/loss"], rel=1e-12)}


@pytest.fixture
def on_tree(tmp_path):
    """Overrides for a tree with 64 training and two validation images."""
    draws = np.random.default_rng(0)
    for split, count in (("train", 32), ("val", 1)):
        for label in range(2):
            folder = tmp_path / "tree" / split / f"class_{label}"
            folder.mkdir(parents=True)
            for i in range(count):
                Image.fromarray(draws.integers(0, 256, (32, 32, 3), np.uint8)).save(folder / f"{i:02d}.png")
    return (
        "data=cifar10", f"data.root={tmp_path / 'tree'}", "data.classes=2",
        "data.feed=stream", "data.workers=0", "optim.batch=24", "probe.layers=[]",
    )  # fmt: skip


@pytest.mark.slow
def test_fewer_validation_images_than_ranks(together, on_tree):
    one = together(1, "evaluated", on_tree)
    assert one["validation/accuracy_top5"] == 1
    for found in together(3, "evaluated", on_tree):
        assert found == {**one, "validation/loss": pytest.approx(one["validation/loss"], rel=1e-6)}


@pytest.mark.slow
@pytest.mark.parametrize("norm", ["ghost", "batch"])
def test_algorithm_2_over_two_ranks(together, norm):
    """Its mini-batches are each rank's: one process with groups of that size gives the same."""
    overrides = (f"model.norm={norm}",)
    one = together(1, "population", ("model.norm=ghost",), 3)
    first, second = together(2, "population", overrides, 3)
    for name, tensor in one.items():
        assert torch.equal(first[name], second[name]), name
        assert_close(first[name], tensor, rtol=1e-10, atol=1e-12, msg=name)
