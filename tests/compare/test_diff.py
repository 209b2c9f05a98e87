"""scripts/runs.py diff: how two runs differ, and where their curves diverge."""

import json
import os

import pytest

from tests.compare.fake_runs import config_text, curve, line, stat
from tests.compare.test_terminal import in_a_terminal, plain

ENV = {
    "command": "python train.py", "commit": "a" * 40, "dirty": False, "changes": None, "time": "then",
    "host": "one", "platform": "Linux", "processor": "fast", "python": "3.11.7", "torch": "2.9", "numpy": "2",
    "device": {"type": "cpu", "name": "fast"}, "step": 0, "resumed": [],
}  # fmt: skip


@pytest.fixture
def two(make):
    """Creates two runs with these metrics, configs and environments; returns their paths."""

    def runs(one, other, configs=None, env=None):
        configs = configs or (config_text("mnist_bn"),) * 2
        return [
            make(f"{name}/a/seed_0", status=stat("done", 400), lock="", config=config, metrics=metrics,
                 env={**ENV, **(env or {})} if name == "b" else ENV)
            for name, config, metrics in zip("ab", configs, (one, other), strict=True)
        ]  # fmt: skip

    return runs


def row(lines, name):
    (found,) = (each.split(None, 1)[1].strip() for each in lines if each.split()[:1] == [name])
    return found


def test_curves_differ_from_the_first_different_bit(two, listed):
    values = [0.1, 0.2, 0.3, 0.4]
    lines = listed("diff", *two(curve(values), curve([0.1, 0.2, 0.3 + 1e-16, 0.9])))
    assert "config: the same in both" in lines
    assert "code and machine: the same in both" in lines
    assert "curves, at the 4 steps that both logged, up to 400" in lines
    assert row(lines, "test/accuracy").split() == ["300", "0.4", "|", "0.9", "0.5", "at", "400"]


def test_the_same_curves(two, listed):
    lines = listed("diff", *two(curve([0.1, 0.2]), curve([0.1, 0.2, 0.3])))
    assert row(lines, "test/accuracy") == "the same, to the last bit, in 2 rows  0.2"
    lines = listed("diff", *two(curve([0.1]), curve([0.1])))
    assert row(lines, "test/accuracy") == "the same, to the last bit, in 1 row  0.1"


def test_both_runs_have_their_names_in_full(make):
    """Also in a narrow terminal, where long values are wrapped."""
    names = [f"mnist_bn/{'model.something-else__' * 3}optim.lr-{lr}/seed_0" for lr in (0.1, 1.0)]
    paths = [make(name, status=stat("done", 400), lock="", metrics=curve([0.1]), env={**ENV, "command": name},
                  config=config_text("mnist_bn")) for name in names]  # fmt: skip
    code, written = in_a_terminal(["diff", *paths], 80, 50, None)
    lines = plain(written).splitlines()
    assert code == 0
    assert lines[:2] == [
        f"{letter}: {os.path.relpath(path)}: done, step 400/400, 10.00%"
        for letter, path in zip("AB", paths, strict=True)
    ]
    place = next(i for i, each in enumerate(lines) if each.startswith("  command "))
    columns = [line[len("code and machine  ") :] for line in lines[place:]]
    assert max(map(len, lines[2:])) < 80
    assert "".join(each[: columns[0].index("  ")].strip() for each in columns[:4]) == names[0]


def test_only_what_both_logged_is_compared(two, listed):
    lines = listed(
        "diff", *two(line(100, test_accuracy=0.1) + line(300, train_loss=1.0), line(300, train_loss=2.0))
    )
    assert "curves, at the 1 step that both logged, up to 300" in lines
    assert row(lines, "train/loss").split() == ["300", "1", "|", "2", "1", "at", "300"]
    assert not [each for each in lines if "accuracy" in each]


def test_no_step_in_common(two, listed):
    assert listed("diff", *two(line(100), line(200)))[-1] == "curves: no step was logged by both"


def test_config_code_and_machine(two, listed):
    configs = (
        config_text("mnist_bn", lr=0.1),
        config_text("mnist_bn", lr=1.0).replace("output: runs", "output: x"),
    )
    env = {"commit": "b" * 40, "dirty": True, "torch": "2.10", "device": {"type": "cuda", "name": "fast"}}
    lines = listed("diff", *two(curve([0.1]), curve([0.2]), configs, env))
    assert row(lines, "optim.lr").split() == ["0.1", "1"]
    assert row(lines, "(output)").split() == ["runs", "x"]  # does not make another run
    assert row(lines, "commit").split() == ["aaaaaaaaaa", "bbbbbbbbbb", "with", "changes"]
    assert row(lines, "torch").split() == ["2.9", "2.10"]
    assert row(lines, "device").split() == ["cpu", "cuda,", "fast"]
    assert not [each for each in lines if "python " in each]


def test_a_running_run(two, listed):
    one, other = two(curve([0.1, 0.2]), curve([0.1, 0.2]) + '{"step": 30')
    (other / "env.json").unlink()
    lines = listed("diff", one, other)
    assert row(lines, "test/accuracy").startswith("the same")
    assert row(lines, "torch").split() == ["2.9", "-"]


def test_refusals(two, refused):
    one, other = two(curve([0.1]), curve([0.1]))
    assert refused("diff", one) == (
        "runs.py diff: the following arguments are required: RUN; --help shows what is accepted"
    )
    assert refused("diff", one, other.parent.parent.parent).endswith(
        "contains 2 runs; accepted: the folder of one"
    )
    (other / "env.json").write_text(json.dumps({**ENV, "commit": 3}))
    assert "env.json: damaged (commit is not str or null)" in refused("diff", one, other)
