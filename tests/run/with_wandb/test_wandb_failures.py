"""W&B that fails or is not installed, and a run that fails: each ends with one line and complete records."""

import sys

import pytest

from bn.errors import Interrupted
from tests.run.with_wandb.conftest import RUN, FakeRun

pytest.importorskip("wandb", reason="wandb is not installed")


@pytest.mark.parametrize("fails", [("log",), ("finish",), ("log", "finish")], ids="+".join)
def test_a_failure_of_wandb_does_not_hurt_the_run(trained, fake, undisturbed, bits, capfd, fails):
    fake.run = FakeRun(fails)
    run = trained(*RUN)
    assert run.status["state"] == "done"
    assert bits(run) == bits(undisturbed("experiment=mnist_bn"))
    err = capfd.readouterr().err
    assert err.count("\n") == 1
    assert "the service is gone: continuing without W&B; the local records are complete" in err


def test_a_failing_start_does_not_hurt_the_run(trained, fake, undisturbed, bits, capfd):
    fake.run = RuntimeError("no room\nfor this run")
    run = trained(*RUN)
    assert bits(run) == bits(undisturbed("experiment=mnist_bn"))
    err = capfd.readouterr().err
    assert err.startswith(
        "logger=wandb: RuntimeError: no room for this run: continuing without W&B; the local "
    )
    assert err.count("\n") == 1


def test_an_interrupted_and_a_diverged_run_are_finished_too(trained, fake, stop_after):
    with pytest.raises(Interrupted):
        trained(*RUN, stop_signal=stop_after(30))
    assert (fake.run.finished, fake.run.exit_code) == (1, 255)  # the code for Ctrl-C
    assert fake.run.summary == {"state": "interrupted", "reason": "SIGTERM"}
    trained(*RUN, "model.norm=none", "model.nonlinearity=relu", "optim.lr=1e6")
    assert (fake.run.finished, fake.run.exit_code) == (2, 0)  # divergence is a result
    assert fake.run.summary["state"] == "diverged"
    assert "at step" in fake.run.summary["reason"]


def test_not_installed_is_one_line(cli, typed, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    code, out, err = cli(*typed(*RUN))
    assert (code, out) == (1, "")
    assert err == 'train.py: logger=wandb: wandb is not installed: pip install -e ".[wandb]"\n'
    assert not (tmp_path / "runs").exists()
