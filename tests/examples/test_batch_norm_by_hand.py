"""examples/batch_norm_by_hand.py agrees with torch, and its Algorithm 2 with bn.norm."""

import re
import runpy

import pytest
import torch
from torch import nn

from bn.files import REPOSITORY
from bn.norm import population_statistics

PATH = REPOSITORY / "examples" / "batch_norm_by_hand.py"


@pytest.fixture(scope="module")
def example():
    return runpy.run_path(str(PATH))


@pytest.fixture(autouse=True)
def _same_threads():
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def test_it_prints_equal_accuracies(example, capsys):
    example["main"](60)
    lines = capsys.readouterr().out.splitlines()
    by_torch, by_hand, population = (float(re.findall(r"([\d.]+)%", line)[0]) for line in lines)
    assert by_hand == pytest.approx(by_torch, abs=0.1)
    assert population > 50


def test_the_layer_equals_torchs(example):
    x = torch.randn(60, 5)
    by_hand, by_torch = example["BatchNorm"](5), nn.BatchNorm1d(5)
    torch.testing.assert_close(by_hand(x), by_torch(x))
    torch.testing.assert_close((by_hand.mean, by_hand.var), (by_torch.running_mean, by_torch.running_var))
    torch.testing.assert_close(by_hand.eval()(x), by_torch.eval()(x))


def test_algorithm2_equals_the_librarys(example):
    batches = torch.rand(240, 784).split(60)
    by_hand, by_torch = (example["network"](norm) for norm in (example["BatchNorm"], nn.BatchNorm1d))
    example["algorithm2"](by_hand, batches)
    population_statistics(by_torch, batches)
    x = torch.rand(7, 784)
    torch.testing.assert_close(by_hand.eval()(x), by_torch.eval()(x))


def test_it_has_fewer_than_100_lines():
    assert len(PATH.read_text().splitlines()) < 100
