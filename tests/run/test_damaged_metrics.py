"""Damage in metrics.jsonl before the last checkpoint is refused in one line; after it, the file is truncated.

Damage is generated: flipped bits, lost, duplicated, swapped and altered rows, and cuts.
"""

import random
import re
import shutil

import numpy as np
import pytest
import torch

from bn.errors import UserError
from bn.run.checkpoint import list_checkpoints, load_checkpoint, save_checkpoint
from bn.run.directory import RunDirectory
from bn.train import last_checkpoint, train
from experiments import collected

RUN = "experiment=mnist_bn"
FLIPS, CUTS = 200, 40


@pytest.fixture(scope="module")
def ended(undisturbed):
    return undisturbed(RUN)


@pytest.fixture
def stopped(ended, tmp_path):
    """A run killed after step 120 but before its checkpoint: the last checkpoint is of step 80."""
    path = tmp_path / "seed_0"
    shutil.copytree(ended.path, path)
    list_checkpoints(path / "checkpoints")[-1].unlink()
    run = RunDirectory(path, ended.config)
    run.set_status("running", 80)
    return run


def rows_of(run):
    return (run.path / "metrics.jsonl").read_bytes().splitlines(keepends=True)


def flips(content, count, seed=0):
    draw = random.Random(seed)
    for _ in range(count):
        at, bit = draw.randrange(len(content)), 1 << draw.randrange(8)
        yield content[:at] + bytes([content[at] ^ bit]) + content[at + 1 :]


def rearranged(rows):
    """Each row lost, duplicated, swapped with the next, emptied, and in place of all rows."""
    for i in range(len(rows)):
        yield b"".join(rows[:i] + rows[i + 1 :])
        yield b"".join(rows[: i + 1] + rows[i:])
        yield b"".join([*rows[:i], b"\n", *rows[i + 1 :]])
        yield rows[i]
        if i:
            yield b"".join([*rows[: i - 1], rows[i], rows[i - 1], *rows[i + 1 :]])


def altered_digits(content):
    for match in re.finditer(rb"\d", content):
        yield content[: match.start()] + b"%d" % ((int(match[0]) + 1) % 10) + content[match.end() :]


def damages(rows, last):
    """Damage the first `last` rows; the rest stays."""
    before, after = rows[:last], b"".join(rows[last:])
    content = b"".join(before)
    yield from (damaged + after for damaged in flips(content, FLIPS))
    yield from (damaged + after for damaged in altered_digits(content))
    # Duplicating the last row damages what follows instead.
    yield from (damaged + after for damaged in rearranged(before) if not damaged.startswith(content))
    yield from (content[:cut] for cut in range(0, len(content), max(1, len(content) // CUTS)))


def start(run):
    """Start as a resume does, up to the first file that it writes."""
    saved = last_checkpoint(run)
    assert saved is not None
    try:
        run.start(saved["step"], {"type": "cpu", "name": "a test"}, saved.get("metrics"))
    finally:
        run.close()


@pytest.mark.slow
def test_any_damage_before_the_checkpoint_is_refused_and_nothing_is_changed(stopped, snapshot):
    path = stopped.path / "metrics.jsonl"
    rows = rows_of(stopped)
    count = 0
    for damaged in damages(rows, 4):
        path.write_bytes(damaged)
        before = snapshot(stopped.path)
        with pytest.raises(UserError) as error:
            start(stopped)
        line = str(error.value)
        assert "\n" not in line
        assert "seed_0/metrics.jsonl: damaged (before the checkpoint of step 80): restore it, or " in line
        assert snapshot(stopped.path) == before
        count += 1
    path.unlink()
    with pytest.raises(UserError, match=r"metrics\.jsonl: damaged"):
        start(stopped)
    assert count > 300  # the digits of a row differ from machine to machine


def test_without_a_digest_lost_and_swapped_rows_are_refused(stopped):
    """An old checkpoint, which lacks the digest."""
    (*_, last) = list_checkpoints(stopped.checkpoints)
    state = load_checkpoint(last)
    del state["metrics"]
    save_checkpoint(stopped.checkpoints, 80, state)
    rows, path = rows_of(stopped), stopped.path / "metrics.jsonl"
    before, after = rows[:4], b"".join(rows[4:])
    for damaged in rearranged(before):
        path.write_bytes(damaged + after)
        with pytest.raises(UserError, match=r"seed_0/metrics\.jsonl: damaged \("):
            start(stopped)
    path.write_bytes(b"".join(rows))
    start(stopped)
    assert rows_of(stopped) == before


def test_rows_after_the_checkpoint_are_truncated(stopped):
    rows, path = rows_of(stopped), stopped.path / "metrics.jsonl"
    before, after = b"".join(rows[:4]), b"".join(rows[4:])
    tails = [*flips(after, 10), *rearranged(rows[4:]), *(after[:cut] for cut in range(0, len(after), 40))]
    for tail in (*tails, b"\0" * 5000, b"{" * 5000, b""):
        path.write_bytes(before + tail)
        start(stopped)
        assert path.read_bytes() == before


def test_the_command_refuses_it_in_one_line(stopped, planned, cli, typed):
    run = planned(RUN)
    shutil.copytree(stopped.path, run.path)
    content = (run.path / "metrics.jsonl").read_bytes()
    (damaged,) = flips(content[:100], 1)
    (run.path / "metrics.jsonl").write_bytes(damaged + content[100:])
    code, _, err = cli(*typed(RUN))
    assert (code, err.count("\n")) == (1, 1)
    assert "metrics.jsonl: damaged (before the checkpoint of step 80): restore it, or choose another " in err
    assert (run.path / "metrics.jsonl").read_bytes() == damaged + content[100:]
    (run.path / "metrics.jsonl").write_bytes(content)
    assert cli(*typed(RUN))[0] == 0


@pytest.mark.parametrize("what", ["flipped", "emptied", "missing"])
def test_activations_are_restored_from_the_checkpoint(stopped, ended, bits, what):
    path = stopped.path / "activations.npz"
    content = path.read_bytes()
    path.unlink()
    if what != "missing":
        path.write_bytes(next(flips(content, 1)) if what == "flipped" else b"")
    stopped.open()
    try:
        train(stopped.config, stopped, progress=False)
    finally:
        stopped.close()
    assert bits(stopped) == bits(ended)


@pytest.mark.parametrize("name", ["metrics.jsonl", "activations.npz"])
def test_figures_reject_records_changed_since_the_end(ended, tmp_path, name, cli, typed, planned):
    run = planned(RUN)
    shutil.copytree(ended.path, run.path)
    assert collected.ended([run]) == [run]
    content = (run.path / name).read_bytes()
    for damaged in (*flips(content, 50), content + content[-100:], b""):
        (run.path / name).write_bytes(damaged)
        with pytest.raises(UserError) as error:
            collected.ended([run])
        assert f"seed_0/{name}: " in str(error.value)
        assert "\n" not in str(error.value)
    (run.path / name).unlink()
    with pytest.raises(UserError, match=rf"seed_0/{re.escape(name)}: "):
        collected.ended([run])
    code, _, err = cli(*typed(RUN))  # would print that it finished before
    assert (code, err.count("\n")) == (1, 1)
    assert f"seed_0/{name}: damaged (changed since the run ended): restore it" in err


@pytest.mark.parametrize("name", ["config.yaml", "env.json"])
@pytest.mark.parametrize("left", [None, b"", b"{"])
def test_an_ended_run_needs_its_config_and_environment(ended, name, left, cli, typed, planned):
    run = planned(RUN)
    shutil.copytree(ended.path, run.path)
    (run.path / name).unlink()
    if left is not None:
        (run.path / name).write_bytes(left)
    with pytest.raises(UserError, match=rf"seed_0/{re.escape(name)}: damaged \("):
        collected.ended([run])
    code, out, err = cli(*typed(RUN))
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert f"seed_0/{name}: damaged ({'missing' if left is None else ''}" in err
    assert (run.path / name).exists() == (left is not None)


def test_observed_arrays_match_the_config(ended, tmp_path):
    run = RunDirectory(tmp_path / "seed_0", ended.config)
    shutil.copytree(ended.path, run.path)
    assert set(collected.observed(run)) == {"steps", "percentiles", "layer1", "layer2", "layer3"}
    arrays = collected.observed(run)
    shorter = {name: a if name == "percentiles" else a[:-1] for name, a in arrays.items()}
    uneven = {**arrays, "layer2": arrays["layer2"][:-1]}
    for wrong in (shorter, uneven):
        with run.activations.open("wb") as file:
            np.savez(file, allow_pickle=False, **wrong)
        with pytest.raises(UserError, match=r"activations\.npz: damaged \("):
            collected.observed(run)
    for content in (b"", b"something else", torch.arange(9).numpy().tobytes()):
        run.activations.write_bytes(content)
        with pytest.raises(UserError, match=r"activations\.npz: damaged \(not an npz file\)"):
            collected.observed(run)
