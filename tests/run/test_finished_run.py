"""A finished run, started again, says so, stops at once and changes nothing."""

import pytest


@pytest.mark.parametrize(
    "extra", [[], ["logger=wandb", "logger.mode=disabled"]], ids=["same", "another logger"]
)
def test_it_says_so_and_changes_no_byte(trained, command, typed, snapshot, tmp_path, extra):
    run = trained("experiment=mnist_bn")
    before = snapshot(tmp_path)
    code, out, err = command(*typed("experiment=mnist_bn"), *extra, python_options=["-X", "importtime"])
    assert code == 0
    assert out.count("\n") == 1
    assert "seed_0: done at step 120; test/accuracy 0." in out
    assert out.endswith(" (finished before)\n")
    assert snapshot(tmp_path) == before
    assert run.finished
    imported = {line.rpartition("|")[2].strip() for line in err.splitlines()}
    assert "torch" not in imported  # at once


def test_the_command_that_finishes_it_exits_with_0_and_a_summary(cli, typed, undisturbed, bits, planned):
    code, out, err = cli(*typed("experiment=mnist_bn"))
    assert (code, err) == (0, "")
    first, last = out.splitlines()
    assert first.startswith("mnist_bn: seed 0, for 120 steps on ")
    assert "1 thread)" in first
    assert "seed_0: done at step 120; test/accuracy 0." in last
    assert "test/accuracy_population 0." in last
    assert bits(planned("experiment=mnist_bn")) == bits(undisturbed("experiment=mnist_bn"))
