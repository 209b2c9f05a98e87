"""`evaluate.population=always`: Algorithm 2 at each evaluation of the MLP."""

import pytest
import torch

from bn.cli import planned_run
from bn.data.mnist import load_mnist
from bn.data.order import EpochOrder
from bn.errors import Interrupted, UserError
from bn.evaluate.accuracy import accuracy
from bn.files import REPOSITORY
from bn.models import mlp
from bn.norm import population_statistics
from bn.run.checkpoint import list_checkpoints, load_checkpoint
from bn.run.directory import read_lines

ALWAYS = ("experiment=mnist_bn", "evaluate.population=always", "evaluate.at.every=40")


def test_each_evaluation_has_both_accuracies_and_training_is_the_same(trained, stop_after, undisturbed, bits):
    with pytest.raises(Interrupted):
        trained(*ALWAYS, stop_signal=stop_after(70))
    run = trained(*ALWAYS)
    assert bits(run) == bits(undisturbed(*ALWAYS))
    plain = undisturbed("experiment=mnist_bn", "evaluate.at.every=40")
    assert bits(run)["checkpoint"]["model"] == bits(plain)["checkpoint"]["model"]

    def both(run):
        return [
            (line["step"], line["test/accuracy"], line.get("test/accuracy_population"))
            for line in read_lines(run.path / "metrics.jsonl")
            if "test/accuracy" in line
        ]

    found = both(run)
    assert [step for step, *_ in found] == [40, 80, 120]
    assert all(population is not None for *_, population in found)
    assert [(step, moving) for step, moving, _ in found] == [
        (step, moving) for step, moving, _ in both(plain)
    ]
    assert found[-1] == both(plain)[-1]


def test_the_accuracy_uses_the_statistics_of_algorithm_2(trained):
    run = trained(*ALWAYS)
    step = 80
    (path,) = [path for path in list_checkpoints(run.checkpoints) if f"{step:08d}" in path.name]
    model = mlp()
    model.load_state_dict(load_checkpoint(path)["model"])
    data = load_mnist(REPOSITORY / "data" / "mnist")
    order = EpochOrder(60_000, 60, 0, torch.device("cpu"))
    population_statistics(model, (data.train.images[order(120 + i)].float() for i in range(10)))
    line = next(line for line in read_lines(run.path / "metrics.jsonl") if line["step"] == step)
    assert line["test/accuracy_population"] == accuracy(model, data.test)
    assert line["test/accuracy_population"] != line["test/accuracy"]


def test_without_bn_nothing_is_reported(trained):
    run = trained("experiment=mnist_baseline", *ALWAYS[1:], "steps=40")
    assert not any("test/accuracy_population" in line for line in read_lines(run.path / "metrics.jsonl"))


def test_images_are_refused():
    with pytest.raises(UserError) as error:
        planned_run(["experiment=bn_x5", "scale=smoke", "evaluate.population=always"])
    assert str(error.value) == "evaluate.population=always: accepted with model=inception: end"
