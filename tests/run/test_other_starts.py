"""start= begins a run from another's weights: recorded, or refused in one line if they do not fit."""

import json

import pytest
import torch

from bn.cli.single_run import attempt
from bn.distributed.ranks import Ranks
from bn.errors import UserError
from bn.run.checkpoint import list_checkpoints, load_checkpoint
from bn.train import train

RUN = ("experiment=mnist_bn", "steps=40")


def trained_by(run):
    return attempt(run, Ranks(), {}, lambda config, run: train(config, run, progress=False))


def weights(run):
    return load_checkpoint(list_checkpoints(run.checkpoints)[-1])["model"]


@pytest.mark.parametrize("given", ["run", "checkpoint"])
def test_it_begins_with_these_weights(given, trained, planned):
    """At a learning rate of nearly 0, weights, gamma and beta stay the same."""
    other = trained("experiment=mnist_bn")
    path = other.path if given == "run" else list_checkpoints(other.checkpoints)[-1]
    run = planned(*RUN, "seed=1", "optim.lr=1e-30", f"start={path}")
    assert trained_by(run)[0] == "done"
    for name, tensor in weights(other).items():
        if "running" not in name and "tracked" not in name:
            assert torch.equal(weights(run)[name], tensor), name
    assert weights(run)["hidden.0.norm.num_batches_tracked"] == 120 + 40


def test_it_is_recorded(trained, planned, capsys):
    other = trained("experiment=mnist_bn")
    run = planned(*RUN, "seed=1", f"start={other.path}")
    assert "start-" in run.path.parent.name or len(run.path.parent.name) == 150
    trained_by(run)
    assert f"\n  weights  initialized from {other.path}\n" in capsys.readouterr().out
    env = json.loads((run.path / "env.json").read_text())
    (last,) = list_checkpoints(other.checkpoints)[-1:]
    assert env["start"]["checkpoint"] == str(last)
    assert (env["start"]["step"], env["start"]["experiment"]) == (120, "mnist_bn")
    assert env["start"]["sha256"].startswith(last.name.split(".")[1])
    assert f"start: {other.path}" in (run.path / "config.yaml").read_text()


def test_another_start_is_another_run(trained, planned):
    other = trained("experiment=mnist_bn")
    paths = {planned(*RUN, *more).path for more in ((), (f"start={other.path}",), ("start=elsewhere",))}
    assert len(paths) == 3


def test_it_resumes_without_them(trained, planned, bits, stop_after, tmp_path):
    """Bit-exactly, even if the source of the weights has been removed."""
    other = trained("experiment=mnist_bn", output=tmp_path / "other")
    start = f"start={other.path}"
    whole = trained(*RUN, start, output=tmp_path / "whole")
    run = planned(*RUN, start)
    stopping = stop_after(30)
    attempt(run, Ranks(), {}, lambda config, run: train(config, run, stopping, progress=False))
    for path in list_checkpoints(other.checkpoints):
        path.unlink()
    assert trained_by(run)[0] == "done"
    assert bits(run) == bits(whole)
    env = json.loads((run.path / "env.json").read_text())
    assert env["start"]["step"] == 120
    assert "start" not in env["resumed"][0]


def test_weights_that_do_not_fit(trained, planned, snapshot, tmp_path):
    other = trained("experiment=mnist_bn")
    file = tmp_path / "weights.pt"
    file.write_bytes(b"")
    damaged = tmp_path / "damaged"
    (damaged / "checkpoints").mkdir(parents=True)
    (damaged / "checkpoints" / "step_00000001.0123456789abcdef.pt").write_bytes(b"x")
    for overrides, words in (
        (
            ("model.hidden=[10]", f"start={other.path}"),
            "hidden.0.linear.weight is (100, 784) there and (10, ",
        ),
        (
            ("model.norm=none", f"start={other.path}"),
            "hidden.0.linear.bias is missing there and (100,) here",
        ),
        ((f"start={tmp_path}/nothing",), "/nothing: no such file or folder; accepted: a run directory"),
        ((f"start={tmp_path}",), "has no checkpoint; accepted: a run directory or a checkpoint"),
        ((f"start={file}",), "not a checkpoint name (step_<n>.<digest>.pt)"),
        ((f"start={damaged}",), "damaged (its checksum is not the one in its name)"),
    ):
        run = planned(*RUN, *overrides)
        before = snapshot(tmp_path)
        with pytest.raises(UserError) as error:
            trained_by(run)
        (line,) = str(error.value).splitlines()
        assert line.startswith("start=")
        assert words in line
        assert snapshot(tmp_path) == before
