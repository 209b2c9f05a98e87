"""Checkpoints: written whole or not at all, verified when read, the last two kept.

A file's name carries the first 16 digits of its content's SHA-256 (`step_00010000.3fa9c1d2e4b5a697.pt`), so
that one atomic rename publishes both. Reading runs no code from the file (`weights_only`).
"""

import hashlib
import io
import os
import pickle
import re
from pathlib import Path
from typing import Any

import torch

from bn.errors import UserError

KEPT = 2
_NAME = re.compile(r"step_(\d{8,})\.([0-9a-f]{16})\.pt")


def save_checkpoint(folder: Path, step: int, state: dict[str, Any]) -> Path:
    """Write `state` (tensors and plain values) as the checkpoint of `step`, then drop all but the last two.

    If writing fails (OSError, such as a full disk) the earlier checkpoints are untouched and no part is left.
    """
    buffer = io.BytesIO()
    torch.save(state, buffer)
    content = buffer.getvalue()
    folder.mkdir(exist_ok=True)
    for stale in folder.glob("step_*.part"):  # of a process that was killed while it wrote
        stale.unlink(missing_ok=True)
    path = folder / f"step_{step:08d}.{_digest(content)}.pt"
    part = path.with_suffix(".part")
    try:
        with part.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    for other in list_checkpoints(folder):
        if other != path and _step(other) >= step:  # left by a run that went back to an earlier one
            other.unlink(missing_ok=True)
    for old in list_checkpoints(folder)[:-KEPT]:
        old.unlink(missing_ok=True)
    return path


def list_checkpoints(folder: Path) -> list[Path]:
    """The checkpoint files of a folder, oldest first."""
    return sorted((path for path in folder.glob("step_*.pt") if _NAME.fullmatch(path.name)), key=_step)


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read and verify one checkpoint; its tensors come to the CPU.

    UserError if it was cut short or altered, or holds more than tensors and plain values.
    """
    match = _NAME.fullmatch(path.name)
    if match is None:
        raise UserError(f"{path}: not a checkpoint name (step_<n>.<digest>.pt)")
    content = path.read_bytes()
    if _digest(content) != match[2]:
        raise UserError(f"{path}: damaged (its checksum is not the one in its name)")
    try:
        return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UserError(f"{path}: not a checkpoint (more than tensors and plain values)") from error


def load_latest(folder: Path) -> tuple[dict[str, Any] | None, list[str]]:
    """The newest sound checkpoint, or None where there is no file; and a line about each damaged one.

    UserError if there are checkpoints and none is sound.
    """
    complaints: list[str] = []
    for path in reversed(list_checkpoints(folder)):
        try:
            return load_checkpoint(path), complaints
        except UserError as error:
            complaints.append(str(error))
    if complaints:
        raise UserError(
            f"{folder}: no sound checkpoint is left ({len(complaints)} damaged): "
            "choose another output=... to start again"
        )
    return None, complaints


def _step(path: Path) -> int:
    return int(path.name.split(".")[0].removeprefix("step_"))


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]
