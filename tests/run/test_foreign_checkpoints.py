"""Intact checkpoints of another run: the previous one is used or the run refused, with one line."""

import errno
import os
import random
import shutil
from pathlib import Path

import pytest
import torch

from bn.errors import Interrupted, UserError
from bn.run.checkpoint import list_checkpoints, load_checkpoint, save_checkpoint

RUN = "experiment=mnist_bn"
TRIED = 30  # of the generated contents
OTHERS = (["seed=1"], ["optim.lr=0.5"], ["model.norm=none"], ["model.hidden=[30]"], ["data.validation=5000"])


@pytest.mark.slow
@pytest.mark.parametrize("other", OTHERS, ids=" ".join)
def test_of_another_run(stopped, trained, stop_after, undisturbed, bits, other, capfd, snapshot):
    with pytest.raises(Interrupted):
        trained(RUN, *other, stop_signal=stop_after(100))
    (last,) = stopped.path.parents[2].rglob("step_00000100.*.pt")
    foreign = Path(shutil.copy(last, stopped.checkpoints))
    capfd.readouterr()
    run = trained(RUN)
    out, err = capfd.readouterr()
    assert err.count("\n") == 1
    assert f"{foreign}: of another run: {other[0].partition('=')[0]}" in err
    assert "from step 87 of 120" in out
    assert bits(run) == bits(undisturbed(RUN))


def test_all_of_another_run_is_refused_and_nothing_is_changed(stopped, trained, stop_after, kept):
    with pytest.raises(Interrupted):
        trained(RUN, "seed=1", stop_signal=stop_after(100))
    shutil.rmtree(stopped.checkpoints)
    shutil.copytree(stopped.path.parent / "seed_1" / "checkpoints", stopped.checkpoints)

    before = kept(stopped)
    with pytest.raises(UserError, match=r"of another run: seed \(there 1, here 0\)") as error:
        trained(RUN)
    assert str(error.value).isprintable()
    assert kept(stopped) == before


def fits(key, value):
    """Values that are valid: seconds, and the optimizer state of the fused step, which is empty."""
    return (key, type(value)) in (("wall_s", int), ("optimizer", dict))


def contents(state):
    """Contents under a valid name: each part missing or replaced, at two depths."""
    values = (None, 7, [], {}, {"a": torch.zeros(1)}, torch.zeros(2), "x")
    for key, part in state.items():
        if key != "metrics":
            yield {name: value for name, value in state.items() if name != key}
        if key != "step":
            yield from ({**state, key: value} for value in values if not fits(key, value))
        if isinstance(part, dict) and key in ("model", "optimizer", "losses", "random", "observations"):
            for inner in list(part)[:3]:
                yield {**state, key: {name: value for name, value in part.items() if name != inner}}
                yield from ({**state, key: {**part, inner: value}} for value in (None, [1], 0.5))
    yield {"step": 87}
    yield {"step": 88, **{k: v for k, v in state.items() if k != "step"}}


@pytest.mark.slow
def test_other_content_under_a_valid_name(stopped, trained, undisturbed, bits, tmp_path, capfd):
    last = list_checkpoints(stopped.checkpoints)[-1]
    state = load_checkpoint(last)
    last.unlink()
    shutil.copytree(stopped.path, tmp_path / "before")
    everything = list(contents(state))
    assert len(everything) > 70
    for content in random.Random(0).sample(everything, TRIED):
        shutil.rmtree(stopped.path)
        shutil.copytree(tmp_path / "before", stopped.path)
        save_checkpoint(stopped.checkpoints, 87, content)
        capfd.readouterr()
        run = trained(RUN)
        out, err = capfd.readouterr()
        assert err.count("\n") == 1, err
        assert "/checkpoints" in err
        assert err.endswith(": using the one before\n")
        assert "from step 80 of 120" in out
        assert bits(run) == bits(undisturbed(RUN))


@pytest.mark.parametrize("number", [errno.EIO, errno.EACCES, errno.ESTALE])
def test_one_that_cannot_be_read(stopped, trained, undisturbed, bits, capfd, monkeypatch, number):
    last = list_checkpoints(stopped.checkpoints)[-1]
    read = os.open

    def refused(path, *arguments, **options):
        if os.fspath(path) == str(last):
            raise OSError(number, os.strerror(number))
        return read(path, *arguments, **options)

    capfd.readouterr()
    with monkeypatch.context() as patch:
        patch.setattr(os, "open", refused)
        run = trained(RUN)
    assert capfd.readouterr().err == (
        f"{last}: cannot be read ({os.strerror(number)}): using the one before\n"
    )
    assert bits(run) == bits(undisturbed(RUN))
