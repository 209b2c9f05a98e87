"""Loading of trained networks: from checkpoints of runs, or from public BN-Inception weights."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from bn.config import Config, config_from, recorded
from bn.errors import UserError, is_out_of_memory
from bn.files import read_regular
from bn.models.build import build_model
from bn.models.inception import Inception
from bn.models.mlp import MLP
from bn.models.pretrained import from_public
from bn.norm.layers import is_normalization
from bn.run.checkpoint import list_checkpoints, load_checkpoint


@dataclass(frozen=True)
class Trained:
    path: Path
    sha256: str
    model: MLP | Inception  # on the CPU, in evaluation mode
    config: Config | None = None  # None for public weights, like `step`
    step: int | None = None
    processes: int = 1  # in the training, each with its share of a mini-batch

    @property
    def name(self) -> str:
        """The name of the experiment, or of the file for public weights."""
        return self.config.experiment if self.config else self.path.stem

    @property
    def classes(self) -> int:
        return self.model.classifier.out_features

    @property
    def normalized(self) -> bool:
        return any(map(is_normalization, self.model.modules()))


def load_trained(path: Path) -> Trained:
    """Load a network from a checkpoint file, from a run directory's last checkpoint, or from public weights.

    The kind of file is detected by its content, and loading executes no code from it. UserError if the file
    is missing, damaged, or contains something else.
    """
    if path.is_dir():
        checkpoints = list_checkpoints(path / "checkpoints")
        if not checkpoints:
            raise UserError(
                f"{path}: no checkpoint in {path / 'checkpoints'}; accepted: a run directory, or a file"
            )
        path = checkpoints[-1]
    try:
        sha256 = hashlib.sha256(read_regular(path)).hexdigest()
    except OSError as error:
        raise UserError(
            f"{path}: cannot be read ({error.strerror}); accepted: a run directory or a checkpoint"
        ) from error
    state = load_checkpoint(path) if path in list_checkpoints(path.parent) else _load(path)
    try:
        if not {"model", "config"} <= state.keys():
            return Trained(path, sha256, from_public(state))
        if not isinstance(state["config"], dict) or type(state.get("step")) is not int:
            raise UserError("a checkpoint without step or config; accepted: one that train.py wrote")
        config = config_from(recorded(state["config"]))
        processes = len(state["ranks"]["losses"]) if "ranks" in state else 1
        return Trained(path, sha256, _build(config, state["model"]), config, state["step"], processes)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


def _load(path: Path) -> dict[str, Any]:
    """Load a file that is not in a checkpoint folder, and so cannot be verified."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises exceptions of any kind for other files
        if is_out_of_memory(error):
            raise
        state = None
    if not isinstance(state, dict) or not all(isinstance(key, str) for key in state):
        raise UserError(f"{path}: neither a checkpoint nor weights that torch can load")
    return state


def _build(config: Config, weights: Mapping[str, Any]) -> MLP | Inception:
    model = build_model(config).eval()
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        if is_out_of_memory(error):
            raise
        raise UserError("its weights do not fit the network in its config") from error
    return model
