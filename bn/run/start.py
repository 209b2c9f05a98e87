"""`start=RUN_OR_CHECKPOINT`: a new run, at step 0, with the weights of another run or of a checkpoint."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bn.config import Config
from bn.errors import UserError
from bn.run.directory import REPOSITORY, RunDirectory
from bn.run.extension import shorter


def check_start(run: RunDirectory) -> None:
    """UserError if a new run cannot begin as `start` or `extend` says. Nothing is written."""
    if run.finished or any(run.checkpoints.glob("step_*")):
        return
    if run.config.extend is not None:
        shorter(run)
    elif run.config.start is not None:
        load_start(run.config)


def load_start(config: Config) -> dict[str, Any]:
    """The checkpoint that `start` names, with its "path". UserError if its network does not fit this one."""
    from bn.models.build import build_model
    from bn.run.checkpoint import list_checkpoints, load_checkpoint  # torch, which others start without

    path = REPOSITORY / str(config.start)
    if path.is_dir():
        path = next(reversed(list_checkpoints(path / "checkpoints")), path / "checkpoints")
    if not path.is_file():
        accepted = "accepted: a run directory or a checkpoint"
        raise UserError(f"start={config.start}: no checkpoint there; {accepted}")
    try:
        state = load_checkpoint(path)
    except UserError as error:
        raise UserError(f"start={config.start}: {error}") from error
    ours, theirs = _shapes(build_model(config).state_dict()), _shapes(state.get("model", {}))
    for name in (*ours, *theirs):
        if ours.get(name) != theirs.get(name):
            there, here = (found.get(name, "missing") for found in (theirs, ours))
            raise UserError(
                f"start={config.start}: holds another network: {name} is {there} there and {here} here; "
                "accepted: a network with the same layers"
            )
    return {**state, "path": path}


def _shapes(tensors: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


def origin(state: Mapping[str, Any]) -> dict[str, Any]:
    """For env.json: the checkpoint that a run's weights come from."""
    path: Path = state["path"]
    return {
        "checkpoint": str(path),
        "step": state["step"],
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "experiment": state["config"].get("experiment"),
    }
