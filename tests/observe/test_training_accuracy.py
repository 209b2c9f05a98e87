"""Accuracy on the training examples, at each evaluation."""

import pytest
import torch

from bn.data.mnist import load_mnist
from bn.files import REPOSITORY
from bn.models.build import build_model
from bn.run.checkpoint import list_checkpoints, load_checkpoint
from bn.run.directory import read_lines


def test_it_is_the_accuracy_on_the_training_examples(trained):
    overrides = ("data.examples=900", "probe.examples=900", "optim.lr=1", "observe=[training_accuracy]")
    run = trained("experiment=mnist_bn", *overrides)
    found = {
        line["step"]: line["observe/training_accuracy"]
        for line in read_lines(run.path / "metrics.jsonl")
        if "observe/training_accuracy" in line
    }
    assert list(found) == [60, 120]

    train = load_mnist(REPOSITORY / "data/mnist").train
    network = build_model(run.config)
    network.load_state_dict(load_checkpoint(list_checkpoints(run.checkpoints)[-1])["model"])
    with torch.no_grad():
        answers = network.eval()(train.images[:900].float()).argmax(1)
    share = (answers == train.labels[:900]).double().mean().item()
    assert share > 0.8
    assert found[120] == pytest.approx(share, abs=1e-9)
