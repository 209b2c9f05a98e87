"""A run whose newest checkpoint is damaged resumes from the previous one; without any it fails."""

import pytest

from bn.errors import UserError
from bn.run.checkpoint import list_checkpoints

RUN = "experiment=mnist_bn"


def cut(content):
    return content[:1000]


def alter(content):
    return content[:5000] + bytes([content[5000] ^ 0x80]) + content[5001:]


@pytest.mark.parametrize("damage", [cut, alter])
def test_the_previous_one_is_used_with_the_same_result(stopped, trained, undisturbed, bits, capfd, damage):
    last = list_checkpoints(stopped.checkpoints)[-1]
    last.write_bytes(damage(last.read_bytes()))
    capfd.readouterr()
    run = trained(RUN)
    out, err = capfd.readouterr()
    assert err.count("\n") == 1
    assert f"{last}: damaged" in err
    assert "using the one before" in err
    assert "from step 80 of 120" in out
    assert bits(run) == bits(undisturbed(RUN))


def test_no_valid_checkpoint_is_an_error_and_nothing_changes(stopped, trained, kept):
    for path in list_checkpoints(stopped.checkpoints):
        path.write_bytes(cut(path.read_bytes()))
    before, config = kept(stopped), (stopped.path / "config.yaml").read_bytes()
    with pytest.raises(UserError, match=r"no valid checkpoint is left \(2 damaged\): choose another output"):
        trained(RUN)
    assert kept(stopped) == before
    assert (stopped.path / "config.yaml").read_bytes() == config


def test_no_valid_checkpoint_on_the_command_line(stopped, cli, typed, snapshot):
    for path in list_checkpoints(stopped.checkpoints):
        path.write_bytes(cut(path.read_bytes()))
    before = snapshot(stopped.path)
    code, _, err = cli(*typed(RUN))
    assert (code, err.count("\n")) == (1, 1)
    assert "no valid checkpoint is left (2 damaged)" in err
    assert stopped.status["state"] == "failed"
    after = snapshot(stopped.path)
    for name in ("metrics.jsonl", "activations.npz", "env.json", *(n for n in before if "checkpoints/" in n)):
        assert after[name] == before[name]
