"""extend= continues a finished run bit-exactly, as if it had had more steps from the start."""

import json
import shutil

import pytest

from bn.cli.single_run import attempt
from bn.config.choices import OBSERVATIONS
from bn.distributed.ranks import Ranks
from bn.errors import Interrupted, UserError
from bn.run.checkpoint import list_checkpoints
from bn.run.directory import read_lines
from bn.run.warm_start import BY_LENGTH, check_warm_start
from bn.train import train
from tests.conftest import slowly

RUN = "experiment=mnist_bn"
NETWORKS = {
    "bn": ["experiment=mnist_bn"],
    "momentum": ["experiment=mnist_baseline", "step_path=autograd", "optim.momentum=0.9"],
    "adam": ["experiment=mnist_bn", "optim=adam", "optim.lr=0.01"],
    "images, dropout, decay": [
        "experiment=bn_baseline",
        "scale=smoke",
        "data.feed=stream",
        "data.workers=0",
        "evaluate.at.every=24",
        "evaluate.population_batches=2",
        "probe.examples=32",
        "log_every=4",
        "probe.at.every=24",
    ],
}
LONG = "steps=180"


@pytest.fixture
def extended(planned):
    """The longer run, of 180 steps, that extends `shorter`; not trained yet."""
    return lambda shorter, *overrides: planned(LONG, *overrides, f"extend={shorter.path}")


@pytest.fixture
def finished(planned, undisturbed):
    """A run that is done: a copy of one that was trained once."""

    def copied(*overrides):
        run = planned(*overrides)
        shutil.copytree(undisturbed(*overrides).path, run.path)
        return run

    return copied


def trained_by(run, stop_signal=lambda: None):
    return attempt(run, Ranks(), {}, lambda config, run: train(config, run, stop_signal, progress=False))


@pytest.mark.parametrize("network", ["bn", *slowly(*[name for name in NETWORKS if name != "bn"])])
def test_the_longer_run_continues_bit_exactly(network, finished, extended, undisturbed, bits, snapshot):
    overrides = NETWORKS[network]
    short, long = ("steps=24", "steps=32") if "scale=smoke" in overrides else ("steps=120", LONG)
    shorter = finished(*overrides, short)
    before = snapshot(shorter.path)
    run = extended(shorter, *overrides, long)
    assert trained_by(run)[0] == "done"
    assert bits(run) == bits(undisturbed(*overrides, long))
    assert snapshot(shorter.path) == before  # unchanged
    run.check_records()


@pytest.mark.parametrize("steps", [130, *slowly(121, 90)])
def test_a_shorter_one_that_ends_between_two_logs(steps, finished, extended, undisturbed, bits):
    """At its end it evaluated, observed and logged a partial window of losses; the longer run does not."""
    shorter = finished(RUN, f"steps={steps}")
    run = extended(shorter, RUN)
    trained_by(run)
    assert bits(run) == bits(undisturbed(RUN, LONG))


@pytest.mark.slow
@pytest.mark.parametrize("steps", [120, 125, 130, 150])
def test_observations_at_the_end_of_the_shorter_run(steps, finished, extended, undisturbed, bits):
    """Observations stay at the steps at which the longer run takes them too."""
    names = [name for name in OBSERVATIONS if name not in BY_LENGTH]
    observed = [
        RUN, f"observe=[{','.join(names)}]", "log_every=30", "evaluate.at.every=50", "probe.at.early=[0,125]",
        "probe.examples=64",
    ]  # fmt: skip
    shorter = finished(*observed, f"steps={steps}")
    run = extended(shorter, *observed)
    trained_by(run)
    assert bits(run) == bits(undisturbed(*observed, LONG))


def test_it_equals_the_run_of_its_own_command(finished, extended, planned, cli, typed, bits):
    """It has the same directory, resumes when interrupted, with or without `extend`, and can be extended."""
    shorter = finished(RUN)
    run = extended(shorter, RUN)
    assert run.path == planned(RUN, LONG).path
    calls = iter(range(1, 1000))
    stops = trained_by(run, lambda: 15 if next(calls) >= 20 else None)
    assert stops[0] == "interrupted"
    code, out, err = cli(*typed(RUN, LONG))
    assert (code, err) == (0, "")
    assert out.startswith("mnist_bn: seed 0, from step 140 of 180 steps -> ")
    code, out, _ = cli(*typed(RUN, LONG, f"extend={shorter.path}"))
    assert (code, "(finished before)\n" in out) == (0, True)
    code, out, err = cli(*typed(RUN, "steps=240", f"extend={run.path}"))
    assert (code, err) == (0, "")
    assert f"continues {run.name} from step 180; that run is not changed" in out


def test_its_origin_is_recorded(finished, extended):
    shorter = finished(RUN)
    run = extended(shorter, RUN)
    run.command = "python train.py the longer one"
    trained_by(run)
    env, first = (json.loads((each.path / "env.json").read_text()) for each in (run, shorter))
    assert env["extends"]["steps"] == 120
    assert env["extends"]["run"].endswith("seed_0")
    assert env["time"] == first["time"]
    assert env["command"] == run.command
    assert env["extends"]["command"] == first["command"]
    assert [start["step"] for start in env["resumed"]] == [120]
    assert f"extend: {shorter.path}" in (run.path / "config.yaml").read_text()


def test_killed_while_copying_records(finished, extended, undisturbed, bits, monkeypatch):
    shorter = finished(RUN)
    run = extended(shorter, RUN)

    def killed(*_):
        raise Interrupted(9)

    with monkeypatch.context() as patch:
        patch.setattr("bn.run.checkpoint.save_checkpoint", killed)
        trained_by(run)
    assert list_checkpoints(run.checkpoints) == []
    trained_by(run)
    assert bits(run) == bits(undisturbed(RUN, LONG))


def refusal(run, snapshot):
    before = snapshot(run.path.parent)
    with pytest.raises(UserError) as error:
        trained_by(run)
    assert snapshot(run.path.parent) == before
    (line,) = str(error.value).splitlines()
    return line


def test_refusals(finished, trained, planned, extended, snapshot, stop_after):
    shorter = finished(RUN)
    key = f"extend={shorter.path}"
    other = planned(RUN, LONG, "optim.lr=1", key)
    assert refusal(other, snapshot) == (
        f"{key}: optim.lr (there 0.1, here 1.0); accepted: a run that differs in steps only"
    )
    same = planned(RUN, "steps=100", key)
    assert refusal(same, snapshot) == (
        f"{key}: has 120 steps, and this run 100; accepted: a run with fewer steps"
    )
    for given in ("evaluate.population=always", "observe=[correlations]"):
        by_length = planned(RUN, LONG, given, key)
        assert refusal(by_length, snapshot).startswith(
            f"{key}: the records of {given} depend on the length of the run; "
        )
    nothing = planned(RUN, LONG, f"extend={shorter.path}0")
    assert refusal(nothing, snapshot) == (
        f"{key}0: contains no run; accepted: the directory of a run that is done"
    )
    itself = planned(RUN, LONG, f"extend={planned(RUN, LONG).path}")
    assert "contains no run" in refusal(itself, snapshot)
    with pytest.raises(Interrupted):
        trained(RUN, "seed=1", stop_signal=stop_after(30))
    stopped = planned(RUN, "seed=1")
    line = refusal(planned(RUN, "seed=1", LONG, f"extend={stopped.path}"), snapshot)
    assert line.endswith("seed_1: interrupted at step 30; accepted: a run that is done")


def test_a_run_changed_since_its_end_is_refused(finished, extended, snapshot):
    shorter = finished(RUN)
    path = shorter.path / "metrics.jsonl"
    path.write_text(path.read_text().replace("0.", "1.", 1))
    assert "changed since the run ended" in refusal(extended(shorter, RUN), snapshot)


def test_values_are_named_as_they_are_typed(finished, planned, snapshot):
    shorter = finished(RUN)
    key = f"extend={shorter.path}"
    run = planned(RUN, LONG, "data.examples=600", "cuda_graph=false", key)
    assert refusal(run, snapshot) == (
        f"{key}: cuda_graph (there true, here false), data.examples (there null, here 600); "
        "accepted: a run that differs in steps only"
    )


def test_extend_of_an_existing_run(finished, extended, planned, snapshot, stop_after):
    """Once the longer run has begun, `extend` of another run is refused instead of ignored."""
    shorter = finished(RUN)
    run = extended(shorter, RUN)
    trained_by(run, stop_after(20))
    for _ in ("interrupted", "done"):
        other = planned(RUN, LONG, "extend=nowhere")
        line = refusal(other, snapshot)
        assert line.startswith(f"extend=nowhere: {run.name} already exists and extends ")
        assert line.endswith("; accepted: the same command without extend")
        trained_by(run)
    assert run.finished
    alone = finished(RUN, LONG, "seed=1")
    line = refusal(planned(RUN, LONG, "seed=1", f"extend={shorter.path}"), snapshot)
    assert line == (
        f"extend={shorter.path}: {alone.name} already exists and began at step 0; "
        "accepted: the same command without extend"
    )


def test_a_sweep_checks_all_members_first(finished, cli, typed, snapshot, tmp_path):
    shorter = finished(RUN).path.parent
    before = snapshot(tmp_path)
    arguments = ("-m", RUN, "seed=0,1", LONG, f"extend='{shorter}/seed_${{seed}}'")
    code, out, err = cli(*typed(*arguments))
    assert (code, out) == (1, "")
    assert f"extend={shorter}/seed_1: contains no run" in err
    assert snapshot(tmp_path) == before


def test_a_run_that_has_begun_does_not_need_the_shorter_one(finished, extended):
    shorter = finished(RUN)
    run = extended(shorter, RUN)
    trained_by(run)
    (shorter.path / "config.yaml").unlink()
    check_warm_start(run)
    assert len(read_lines(run.path / "metrics.jsonl")) > 5
