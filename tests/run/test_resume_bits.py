"""A run that is stopped and resumed ends with the same bits as one that was not, without any tolerance."""

import itertools
import json
import signal

import pytest

from bn.errors import Interrupted
from bn.run.checkpoint import list_checkpoints, load_checkpoint
from bn.run.directory import read_lines
from tests.conftest import slowly

NETWORKS = {
    "baseline": ["experiment=mnist_baseline"],
    "bn": ["experiment=mnist_bn"],
    "nothing observed": ["experiment=mnist_bn", "observe=[]"],
    "dropout, by the population": [
        "experiment=mnist_bn", "model.norm=population", "model.dropout=0.3", "data.examples=700",
        "data.inputs=noisy", "observe=[percentiles,shapes,training_accuracy]",
    ],
    "after, momentum": ["experiment=mnist_bn", "model.norm_place=after", "optim.momentum=0.9"],
    "momentum, baseline": ["experiment=mnist_baseline", "step_path=autograd", "optim.momentum=0.9"],
    "momentum, decay, validation, two epochs": [
        "experiment=mnist_bn", "step_path=autograd", "optim.momentum=0.9", "optim.weight_decay=1e-3",
        "data.validation=50000", "optim.batch=150",
    ],
}  # fmt: skip


@pytest.mark.parametrize(
    "network",
    [
        "baseline",
        "bn",
        "nothing observed",
        "dropout, by the population",
        *slowly(*[n for n in NETWORKS if "momentum" in n]),
    ],
)
def test_stopped_between_everything(trained, stop_after, undisturbed, bits, network):
    """At 37 (not a multiple of log_every = 20), at 60 (evaluated, observed) and at 119, the last but one."""
    overrides = NETWORKS[network]
    for steps in (37, 60 - 37, 119 - 60):
        with pytest.raises(Interrupted) as stop:
            trained(*overrides, stop_signal=stop_after(steps, signal.SIGINT))
        assert stop.value.signal == signal.SIGINT
    run = trained(*overrides)
    assert bits(run) == bits(undisturbed(*overrides))
    starts = json.loads((run.path / "env.json").read_text())["resumed"]
    assert [start["step"] for start in starts] == [37, 60, 119]


def test_stopped_after_each_step(trained, stop_after, undisturbed, bits):
    overrides = (
        "experiment=mnist_bn",
        "steps=7",
        "log_every=3",
        "probe.at.early=[0,2]",
        "evaluate.at.every=5",
    )
    for _ in range(6):
        with pytest.raises(Interrupted):
            trained(*overrides, stop_signal=stop_after(1))
    assert bits(trained(*overrides)) == bits(undisturbed(*overrides))


def test_the_status_of_an_interrupted_run(trained, planned, stop_after):
    with pytest.raises(Interrupted):
        trained("experiment=mnist_bn", stop_signal=stop_after(37))
    run = planned("experiment=mnist_bn")
    assert not run.finished
    assert (run.status["state"], run.status["step"]) == ("interrupted", 37)
    assert run.status["reason"] == "SIGTERM"
    state = load_checkpoint(list_checkpoints(run.checkpoints)[-1])
    assert (state["step"], state["losses"]["count"]) == (37, 17)


def test_a_signal_at_the_last_step_comes_too_late(trained, stop_after, undisturbed, bits):
    run = trained("experiment=mnist_bn", stop_signal=stop_after(120))
    assert run.status["state"] == "done"
    assert bits(run) == bits(undisturbed("experiment=mnist_bn"))


def test_metrics_after_the_checkpoint_are_truncated_and_logged_again(trained, planned, undisturbed, bits):
    """A kill leaves rows of steps after the checkpoint, the last one truncated."""

    def killed():
        if next(calls) == 70:
            raise SystemExit("killed")

    calls = itertools.count(1)
    with pytest.raises(SystemExit):
        trained("experiment=mnist_bn", stop_signal=killed)
    run = planned("experiment=mnist_bn")
    assert [line["step"] for line in read_lines(run.path / "metrics.jsonl")] == [20, 40, 60]
    assert load_checkpoint(list_checkpoints(run.checkpoints)[-1])["step"] == 40
    with (run.path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 80, "train/lo')
    assert bits(trained("experiment=mnist_bn")) == bits(undisturbed("experiment=mnist_bn"))


def test_wall_time_continues(trained, planned, stop_after):
    with pytest.raises(Interrupted):
        trained("experiment=mnist_bn", stop_signal=stop_after(60))
    before = read_lines(planned("experiment=mnist_bn").path / "metrics.jsonl")[-1]["wall_s"]
    lines = read_lines(trained("experiment=mnist_bn").path / "metrics.jsonl")
    walls = [line["wall_s"] for line in lines]
    assert walls == sorted(walls)
    assert lines[3]["step"] == 80
    assert lines[3]["wall_s"] > before
