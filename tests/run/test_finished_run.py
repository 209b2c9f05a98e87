"""Starting a finished run again prints its result and changes nothing."""

import re

import pytest


@pytest.mark.parametrize(
    "extra", [[], ["logger=wandb", "logger.wandb.mode=disabled"]], ids=["same", "another logger"]
)
def test_it_prints_the_result_and_changes_no_byte(trained, command, typed, snapshot, tmp_path, extra):
    run = trained("experiment=mnist_bn")
    before = snapshot(tmp_path)
    code, out, err = command(*typed("experiment=mnist_bn"), *extra, python_options=["-X", "importtime"])
    assert code == 0
    summary, following = out.splitlines()
    assert "seed_0: done at step 120; test/accuracy 0." in summary
    assert summary.endswith(" (finished before)")
    assert following.startswith("train.py: next: python ")
    assert snapshot(tmp_path) == before
    assert run.finished
    imported = {line.rpartition("|")[2].strip() for line in err.splitlines()}
    assert "torch" not in imported  # so it starts fast


def test_the_command_that_finishes_it_exits_with_0_and_a_summary(cli, typed, undisturbed, bits, planned):
    code, out, err = cli(*typed("experiment=mnist_bn"))
    assert (code, err) == (0, "")
    run = planned("experiment=mnist_bn")
    first, network, size, data, step, device, *_, last, following = out.splitlines()
    assert first == f"mnist_bn: seed 0, for 120 steps -> {run.name}"
    assert network == "  network  MLP 784-100-100-100-10, sigmoid, batch normalization"
    assert size == "  size     100,010 parameters, 99,400 multiply-adds per image"
    assert data == "  data     mnist: 60,000 training and 10,000 test images; mini-batches of 60"
    assert step == "  step     sgd, learning rate 0.1; fused step"
    assert device.endswith("(1 thread)")
    assert "seed_0: done at step 120; test/accuracy 0." in last
    assert "test/accuracy_population 0." in last
    assert re.search(r"; after [\d.]+ s$", last)
    assert following == f"train.py: next: python scripts/runs.py show {run.name}"
    assert bits(planned("experiment=mnist_bn")) == bits(undisturbed("experiment=mnist_bn"))
