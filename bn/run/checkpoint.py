"""Checkpoints: written atomically, verified when read; the last two are kept.

A file name contains the first 16 hex digits of its content's SHA-256 (`step_00010000.3fa9c1d2e4b5a697.pt`),
so one atomic rename publishes both. Reading runs no code from the file (`weights_only`).
"""

import hashlib
import io
import re
from collections.abc import Callable, Container
from pathlib import Path
from typing import Any

import torch

from bn.errors import UserError, is_out_of_memory
from bn.files import read_regular, remove_partial_files, write_atomically

KEPT = 2
_NAME = re.compile(r"step_(\d{8,})\.([0-9a-f]{16})\.pt")


def save_checkpoint(folder: Path, step: int, state: dict[str, Any]) -> Path:
    """Write `state` (tensors and plain values) as the checkpoint of `step`, then delete all but the last two.

    If writing fails (OSError, such as a full disk), earlier checkpoints stay and no partial file is left.
    """
    buffer = io.BytesIO()
    torch.save(state, buffer)
    content = buffer.getvalue()
    folder.mkdir(exist_ok=True)
    remove_partial_files(folder)  # left by a process that was killed while writing
    path = folder / f"step_{step:08d}.{_digest(content)}.pt"
    write_atomically(path, content)
    for other in list_checkpoints(folder):
        if other != path and _step(other) >= step:  # left from before the run fell back to an earlier one
            other.unlink(missing_ok=True)
    for old in list_checkpoints(folder)[:-KEPT]:
        old.unlink(missing_ok=True)
    return path


def list_checkpoints(folder: Path) -> list[Path]:
    """Return the checkpoint files of a folder, oldest first."""
    return sorted((path for path in folder.glob("step_*.pt") if _NAME.fullmatch(path.name)), key=_step)


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read and verify one checkpoint, with its tensors on the CPU.

    Raises UserError if it was truncated or altered, or contains more than tensors and plain values.
    """
    match = _NAME.fullmatch(path.name)
    if match is None:
        raise UserError(f"{path}: not a checkpoint name (step_<n>.<digest>.pt)")
    try:
        content = read_regular(path)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    if _digest(content) != match[2]:
        raise UserError(f"{path}: damaged (its checksum is not the one in its name)")
    try:
        state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many types for a file of another kind
        if is_out_of_memory(error):
            raise
        raise UserError(f"{path}: not a checkpoint (more than tensors and plain values)") from error
    if not isinstance(state, dict) or type(state.get("step")) is not int or state["step"] != int(match[1]):
        raise UserError(f"{path}: not a checkpoint of step {int(match[1]):,}")
    return state


def load_latest(
    folder: Path, check: Callable[[dict[str, Any]], None] = lambda _: None, besides: Container[int] = ()
) -> tuple[dict[str, Any] | None, list[str]]:
    """Return the newest valid checkpoint, or None if there is no file, and a line for each invalid one.

    `check` raises UserError for a checkpoint that must not be used; those of the steps in `besides` are
    skipped. Raises UserError if there are checkpoints but none is valid.
    """
    complaints: list[str] = []
    paths = list_checkpoints(folder)
    for path in reversed([path for path in paths if _step(path) not in besides]):
        try:
            state = load_checkpoint(path)
            try:
                check(state)
            except UserError as error:
                raise UserError(f"{path}: {error}") from error
            return state, complaints
        except UserError as error:
            complaints.append(str(error))
    if paths:
        damaged = all("its checksum" in complaint for complaint in complaints)
        why = f"{len(paths)} damaged" if damaged else "; ".join(complaints)
        raise UserError(
            f"{folder}: no valid checkpoint is left ({why}): choose another output=... to start again"
        )
    return None, complaints


def _step(path: Path) -> int:
    return int(path.name.split(".")[0].removeprefix("step_"))


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]
