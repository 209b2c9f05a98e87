"""Divergence is a result: the run ends normally, with the step and the value."""

import re

import numpy as np
import pytest

from bn.errors import Interrupted
from bn.run.directory import read_lines

WILD = ("experiment=mnist_baseline", "model.nonlinearity=relu", "optim.lr=1e6")


def test_a_run_that_diverges(cli, typed, planned, snapshot):
    code, out, err = cli(*typed(*WILD))
    run = planned(*WILD)
    assert (code, err) == (0, "")
    assert run.status["state"] == "diverged"
    match = re.fullmatch(r"train/loss is (nan|inf) at step (\d+)", run.status["reason"])
    assert match
    assert "diverged at step 20; train/loss is " in out
    assert 1 < int(match[2]) <= 20  # detected when the first 20 losses are read
    assert all(np.isfinite(line["train/loss"]) for line in read_lines(run.path / "metrics.jsonl"))
    with np.load(run.path / "activations.npz") as arrays:
        assert arrays["steps"].tolist() == [0]

    before = snapshot(run.path)
    code, out, err = cli(*typed(*WILD))
    assert (code, err) == (0, "")
    assert "diverged at step 20" in out
    assert "(finished before)\n" in out
    assert snapshot(run.path) == before


def test_the_step_is_the_first_whose_loss_is_not_finite(trained):
    window = trained(*WILD)
    each = trained(*WILD, "log_every=1")
    assert window.status["reason"] == each.status["reason"]
    assert each.status["reason"].endswith(f"at step {each.status['step']}")
    losses = [line["train/loss"] for line in read_lines(each.path / "metrics.jsonl")]
    assert len(losses) == each.status["step"] - 1


def test_percentiles_of_non_finite_values_are_recorded_without_warnings(trained):
    run = trained(*WILD, "probe.at.early=[0,18]", "evaluate.at.early=[19]")  # warnings are errors
    with np.load(run.path / "activations.npz") as arrays:
        assert arrays["steps"].tolist() == [0, 18]
        assert not np.isfinite(arrays["layer3"][1]).all()


def test_an_interrupted_run_diverges_at_the_same_step(trained, stop_after, tmp_path):
    whole = trained(*WILD, output=tmp_path / "whole").status
    with pytest.raises(Interrupted):
        trained(*WILD, stop_signal=stop_after(1))
    parts = trained(*WILD).status
    assert [parts[key] for key in ("state", "step", "reason")] == [
        whole[key] for key in ("state", "step", "reason")
    ]


def test_an_infinite_statistic_is_a_divergence_though_the_loss_is_finite(trained):
    """BN hides an exploding W from the loss, but not from the moving averages."""
    run = trained("experiment=mnist_bn", "optim.lr=1e20")
    assert run.status["state"] == "diverged"
    assert re.fullmatch(r"hidden\.\S+ holds (nan|inf) at step 60", run.status["reason"])
