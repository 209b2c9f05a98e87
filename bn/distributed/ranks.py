"""Which process of how many this is, as torchrun says, and what so many can train."""

import os
from collections.abc import Mapping
from typing import NamedTuple

from bn.config import Config, InceptionModel
from bn.errors import UserError

NUMBERS = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")


class Ranks(NamedTuple):
    """The place of this process among those that train one network together."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0  # on this machine
    local_size: int = 1


def ranks_here(environment: Mapping[str, str] = os.environ) -> Ranks:
    """From torchrun's variables; without them, or with those of one process, one process."""
    if environment.get("WORLD_SIZE", "1") != "1":
        try:
            return Ranks(*(int(environment[name]) for name in NUMBERS))
        except (KeyError, ValueError):
            shown = " ".join(f"{name}={environment.get(name, '')}" for name in NUMBERS)
            raise UserError(f"{shown}: accepted: whole numbers, as torchrun sets them") from None
    if environment.get("SLURM_STEP_NUM_TASKS", "1") != "1" and "RANK" not in environment:
        raise UserError(
            "srun starts several tasks without torchrun: accepted: one `torchrun` on each node, "
            "as scripts/slurm/train.sbatch starts them"
        )
    return Ranks()


def check_shared(config: Config, processes: int) -> None:
    """UserError with one line if this many processes cannot train one network of this config together."""
    model, batch = config.model, config.optim.batch
    if not isinstance(model, InceptionModel):
        if processes > 1:
            raise UserError(
                f"{processes} processes: model={model.name} is trained by one; a sweep (-m) runs many at once"
            )
        return
    if batch % processes:
        raise UserError(f"optim.batch={batch}: accepted: a multiple of the {processes} processes")
    share = batch // processes
    if model.norm == "ghost" and share % model.norm_group:
        raise UserError(
            f"optim.batch={batch}: {share} for each of {processes} processes; accepted with "
            f"model.norm=ghost: multiples of {processes} x model.norm_group = {processes * model.norm_group}"
        )
    if model.norm == "batch" and share < 2:
        raise UserError(
            f"optim.batch={batch}: {share} for each of {processes} processes; accepted with "
            f"model.norm=batch: at least {2 * processes}"
        )
