"""The promises of debug=overfit, debug=profile and debug=fast, on real networks."""

import json
import time

import pytest

from bn.cli import planned_run
from bn.cli.single_run import attempt
from bn.config import config_from, to_dict
from bn.distributed.ranks import Ranks
from bn.errors import UserError
from bn.run.directory import read_lines
from bn.run.final_lines import OVERFITTED, final_lines
from bn.tasks import mnist
from bn.train import train
from tests.conftest import slowly


@pytest.fixture
def run(tmp_path):
    """The run directory of the config itself, without the tests' shortening."""
    return lambda *overrides: planned_run([*overrides, "device=cpu", f"output={tmp_path}"])


def trained_by(run, stop_signal=lambda: None):
    return attempt(run, Ranks(), {}, lambda config, run: train(config, run, stop_signal, progress=False))


def losses(run):
    return [row["train/loss"] for row in read_lines(run.path / "metrics.jsonl") if "train/loss" in row]


IMAGES = ("experiment=bn_x5", "scale=smoke", "optim.batch=8", "model.norm_group=8", "data.workers=0")


@pytest.mark.parametrize(
    "overrides",
    [
        ("experiment=mnist_bn", "steps=500"),
        *slowly(
            (("experiment=mnist_baseline",),),
            ((*IMAGES, "steps=150", "log_every=10", "data.feed=stream"),),
        ),
    ],
)
def test_one_mini_batch_is_learned(overrides, run, capsys):
    one = run(*overrides, "debug=overfit")
    assert trained_by(one)[0] == "done"
    assert losses(one)[-1] < min(OVERFITTED, losses(one)[0] / 4)
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "overfit: " in line]
    loss = f"{losses(one)[-1]:.3g}"
    assert line == f"train.py: overfit: loss {loss} on the single mini-batch: the network has learned it"


def test_a_resume_uses_the_same_mini_batch(run, monkeypatch, stop_after):
    drawn = []
    draw = mnist.MnistTask.draw

    def noted(task, n):
        drawn.append(n)
        return draw(task, n)

    monkeypatch.setattr(mnist.MnistTask, "draw", noted)
    one = run("experiment=mnist_bn", "debug=overfit", "steps=40")
    trained_by(one, stop_after(20))
    assert trained_by(one)[0] == "done"
    assert drawn == [1, 1]


def test_a_mini_batch_that_is_not_learned_is_reported(run):
    one = run("experiment=mnist_bn", "debug=overfit", "steps=50", "optim.lr=1e-10")
    trained_by(one)
    line = final_lines(one, "done", "x")[1]
    assert line.startswith("train.py: overfit: loss 2.")
    assert line.endswith(", not below 0.05: train longer (steps=...), or look for a mistake in the network")


def test_a_profile(run, capfd):
    one = run("experiment=mnist_bn", "debug=profile")
    assert trained_by(one)[0] == "done"
    text = (one.path / "profile.txt").read_text()
    out, err = capfd.readouterr()
    assert text in out
    assert err == ""  # nothing from the profiling library's C++ code
    assert "images/s" not in out  # the profiler takes most of the time
    assert not any("train/images_per_second" in row for row in read_lines(one.path / "metrics.jsonl"))
    header, *rows, total = text.splitlines()
    assert header.split() == [
        "ms",
        "a",
        "step",
        "share",
        "calls",
        "a",
        "step",
        "operation,",
        "on",
        "the",
        "CPU",
    ]
    assert any("aten::addmm" in row for row in rows)
    times = [float(row.split()[0]) for row in rows]
    assert times == sorted(times, reverse=True)
    assert sum(times) <= float(total.split()[0]) + 0.001
    assert "all operations, over 20 steps" in total
    assert max(map(len, text.splitlines())) <= 80
    events = json.loads((one.path / "trace.json").read_text())["traceEvents"]
    steps = {event["name"] for event in events if str(event.get("name")).startswith("ProfilerStep#")}
    assert len(steps) == 20


def test_a_profile_changes_no_bit(planned, undisturbed, bits):
    one = planned("experiment=mnist_bn", "profile=20")
    assert trained_by(one)[0] == "done"
    assert bits(one) == bits(undisturbed("experiment=mnist_bn"))


def test_a_profile_of_a_run_that_is_stopped(run, stop_after):
    one = run("experiment=mnist_bn", "debug=profile")
    assert trained_by(one, stop_after(12))[0] == "interrupted"
    assert trained_by(one)[0] == "done"
    assert "over 20 steps" in (one.path / "profile.txt").read_text()


def test_too_short_for_a_profile():
    plain = to_dict(planned_run(["experiment=mnist_bn"]).config)
    with pytest.raises(UserError, match=r"^profile=20: accepted with 29 steps: at most 19 \("):
        config_from({**plain, "profile": 20, "steps": 29})
    config_from({**plain, "profile": 20, "steps": 30})


@pytest.mark.parametrize(
    "overrides", [("experiment=mnist_bn",), *slowly((("experiment=bn_x5", "scale=smoke"),))]
)
def test_the_whole_path_in_a_minute(overrides, run):
    one = run(*overrides, "debug=fast")
    began = time.monotonic()
    assert trained_by(one)[0] == "done"
    assert time.monotonic() - began < 60
    rows = read_lines(one.path / "metrics.jsonl")
    assert len([row for row in rows if "validation/accuracy" in row]) == 3
    assert "validation/accuracy_population" in rows[-1]
    assert (one.path / "activations.npz").exists()
    assert len(list(one.checkpoints.iterdir())) == 2


def test_each_is_a_run_of_its_own(run):
    paths = [
        run("experiment=mnist_bn", f"debug={name}").path for name in ("none", "fast", "overfit", "profile")
    ]
    assert [path.parent.name.removesuffix("__device-cpu") for path in paths] == [
        "device-cpu", "debug-fast", "debug-overfit", "debug-profile",
    ]  # fmt: skip
