"""The rank of this process, set by torchrun, and checks that the number of processes fits a config."""

import os
from collections.abc import Mapping
from typing import NamedTuple

from bn.config import Config, InceptionModel
from bn.errors import UserError

NUMBERS = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_PORT")


class Ranks(NamedTuple):
    """The rank of this process among those that train one network together."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0  # on this machine
    local_size: int = 1


def ranks_from_env(environment: Mapping[str, str] = os.environ) -> Ranks:
    """Read the rank from torchrun's variables; without them there is one process.

    Raises UserError if variables are missing or inconsistent.
    """
    # Some containers and notebooks set the variables for a single process.
    alone = all(environment.get(name, own) == own for name, own in zip(NUMBERS, "0101", strict=False))
    if alone:
        tasks = environment.get("SLURM_STEP_NUM_TASKS") or "1"
        if not tasks.isdecimal():
            raise UserError(f"SLURM_STEP_NUM_TASKS={tasks}: accepted: a whole number; srun sets it")
        if int(tasks) > 1 and "RANK" not in environment:
            raise UserError(
                "srun starts several tasks without torchrun: accepted: one `torchrun` on each node, "
                "as in scripts/slurm/train.sbatch"
            )
        return Ranks()
    for name in NUMBERS:
        if not environment.get(name, "").isdecimal():
            raise UserError(f"{name}={environment.get(name, '')}: accepted: a whole number; torchrun sets it")
    if not environment.get("MASTER_ADDR"):
        raise UserError("MASTER_ADDR=: accepted: the host where the ranks meet; torchrun sets it")
    ranks = Ranks(*(int(environment[name]) for name in NUMBERS[:-1]))
    if not (
        ranks.local_rank < ranks.local_size <= ranks.size and ranks.local_rank <= ranks.rank < ranks.size
    ):
        shown = " ".join(f"{name}={environment[name]}" for name in NUMBERS[:-1])
        raise UserError(f"{shown}: accepted: ranks below the number of processes, as torchrun sets them")
    return ranks


def check_processes(config: Config, processes: int) -> None:
    """Raise UserError if this many processes cannot train one network of this config together."""
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
