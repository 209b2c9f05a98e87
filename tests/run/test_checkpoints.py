"""Checkpoints: the last two are kept, they are verified when read, and none of their code runs."""

import hashlib
import io
import pickle
import re

import pytest
import torch

from bn.errors import UserError
from bn.run.checkpoint import list_checkpoints, load_checkpoint, load_latest, save_checkpoint


def state(step):
    return {"step": step, "weights": torch.arange(1000.0) + step}


@pytest.fixture
def folder(tmp_path):
    """A folder with the checkpoints of steps 10, 20 and 30, of which the last two are kept."""
    for step in (10, 20, 30):
        save_checkpoint(tmp_path / "checkpoints", step, state(step))
    return tmp_path / "checkpoints"


def test_the_last_two_are_kept(folder):
    assert [load_checkpoint(path)["step"] for path in list_checkpoints(folder)] == [20, 30]
    assert len(list(folder.iterdir())) == 2


def test_the_name_carries_the_checksum(folder):
    for path in list_checkpoints(folder):
        match = re.fullmatch(r"step_(\d{8})\.([0-9a-f]{16})\.pt", path.name)
        assert match
        assert hashlib.sha256(path.read_bytes()).hexdigest().startswith(match[2])


def test_loading_returns_what_was_saved(folder):
    loaded, complaints = load_latest(folder)
    assert loaded is not None
    assert (loaded["step"], complaints) == (30, [])
    assert torch.equal(loaded["weights"], state(30)["weights"])


def test_no_checkpoint_is_not_an_error(tmp_path):
    assert load_latest(tmp_path / "nothing") == (None, [])


def cut(content):
    return content[: len(content) // 2]


def alter(content):
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


@pytest.mark.parametrize("damage", [cut, alter, lambda content: b"", lambda content: content + b"\0"])
def test_a_damaged_checkpoint_is_named_and_the_previous_one_used(folder, damage):
    last = list_checkpoints(folder)[-1]
    last.write_bytes(damage(last.read_bytes()))
    loaded, complaints = load_latest(folder)
    assert loaded is not None
    assert loaded["step"] == 20
    (complaint,) = complaints
    assert complaint.startswith(f"{last}: damaged")
    assert "\n" not in complaint


def test_all_damaged_is_an_error(folder):
    for path in list_checkpoints(folder):
        path.write_bytes(alter(path.read_bytes()))
    with pytest.raises(UserError) as error:
        load_latest(folder)
    assert str(error.value) == (
        f"{folder}: no valid checkpoint is left (2 damaged): choose another output=... to start again"
    )


def test_a_run_that_fell_back_deletes_later_checkpoints(folder):
    save_checkpoint(folder, 25, state(25))
    assert [load_checkpoint(path)["step"] for path in list_checkpoints(folder)] == [20, 25]


def test_more_than_eight_digits_of_steps(tmp_path):
    for step in (99_999_999, 100_000_000, 100_000_001):
        save_checkpoint(tmp_path, step, state(step))
    assert [load_checkpoint(path)["step"] for path in list_checkpoints(tmp_path)] == [
        100_000_000,
        100_000_001,
    ]
    assert len(list(tmp_path.iterdir())) == 2


def test_partial_files_of_a_killed_writer_are_removed(folder):
    (folder / "step_00000035.0123456789abcdef.part").write_bytes(b"half")
    save_checkpoint(folder, 40, state(40))
    assert sorted(folder.iterdir()) == list_checkpoints(folder)
    assert len(list_checkpoints(folder)) == 2


class Malicious:
    """Writes a file when unpickled."""

    def __init__(self, witness):
        self.witness = witness

    def __reduce__(self):
        return open, (str(self.witness), "w")


@pytest.mark.parametrize("kind", ["torch", "pickle"])
def test_no_code_of_a_checkpoint_is_run(folder, tmp_path, kind):
    witness = tmp_path / "witness"
    buffer = io.BytesIO()
    if kind == "torch":
        torch.save({"step": 40, "model": Malicious(witness)}, buffer)
    else:
        pickle.dump(Malicious(witness), buffer, protocol=2)
    digest = hashlib.sha256(buffer.getvalue()).hexdigest()[:16]
    path = folder / f"step_00000040.{digest}.pt"
    path.write_bytes(buffer.getvalue())
    with pytest.raises(UserError, match="not a checkpoint"):
        load_checkpoint(path)
    loaded, complaints = load_latest(folder)
    assert loaded is not None
    assert (loaded["step"], len(complaints)) == (30, 1)
    assert not witness.exists()
    pickle.loads(pickle.dumps(Malicious(witness))).close()
    assert witness.exists()  # it would have run
