"""Which process of how many this is, as the program that started it says: torchrun, or srun."""

import os
import re
from collections.abc import Mapping
from typing import NamedTuple

from bn.config import Config, InceptionModel
from bn.errors import UserError

FIRST_PORT, PORTS = 15_000, 15_000  # where ranks of a SLURM step meet: below those that systems hand out


class Ranks(NamedTuple):
    """The place of this process among those that train one network together."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0  # on this machine
    local_size: int = 1
    address: str = ""  # where they meet
    port: int = 0
    own_gpu: bool = False  # bound to it: this process sees that one alone


def ranks_here(environment: Mapping[str, str] = os.environ) -> Ranks:
    """From torchrun's variables, else from those of a SLURM step of several tasks, else one process.

    The variables of a SLURM job, such as SLURM_NTASKS, say nothing: a shell of salloc has them too. UserError
    where one is missing or is no number.
    """
    if "RANK" in environment and "WORLD_SIZE" in environment:
        names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
        rank, size, local_rank, local_size = (_number(environment, name) for name in names)
        if size == 1:
            return Ranks()
        if "MASTER_ADDR" not in environment:
            raise UserError("MASTER_ADDR: missing beside RANK and WORLD_SIZE; torchrun sets all of them")
        port = _number(environment, "MASTER_PORT")
        return Ranks(rank, size, local_rank, local_size, environment["MASTER_ADDR"], port)
    if int(environment.get("SLURM_STEP_NUM_TASKS", 1)) == 1:
        return Ranks()
    names = ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID", "SLURM_JOB_ID", "SLURM_STEP_ID")
    rank, size, local_rank, job, step = (_number(environment, name) for name in names)
    local_size = _tasks_of_node(
        environment["SLURM_STEP_TASKS_PER_NODE"], _number(environment, "SLURM_NODEID")
    )
    address = environment.get("MASTER_ADDR") or first_host(environment["SLURM_STEP_NODELIST"])
    port = FIRST_PORT + (job * 31 + step) % PORTS
    if "MASTER_PORT" in environment:
        port = _number(environment, "MASTER_PORT")
    names = ("SLURM_GPUS_PER_TASK", "SLURM_TRES_PER_TASK", "SLURM_GPU_BIND")
    bound = any(name in environment for name in names)
    return Ranks(rank, size, local_rank, local_size, address, port, bound)


def first_host(hosts: str) -> str:
    """The first of SLURM's list of hosts: "gpu-[007-009,12],login" -> "gpu-007"."""
    first = re.match(r"(?:\[[^\]]*\]|[^,\[])+", hosts)
    return re.sub(r"\[([^\],-]+)[^\]]*\]", r"\1", first[0] if first else hosts)


def _tasks_of_node(tasks: str, node: int) -> int:
    """Of SLURM's tasks per node, "4(x2),3" for 4, 4 and 3, those of a node counted from 0."""
    counts = [
        int(count)
        for count, times in re.findall(r"(\d+)(?:\(x(\d+)\))?", tasks)
        for _ in range(int(times or 1))
    ]
    return counts[node]


def _number(environment: Mapping[str, str], name: str) -> int:
    value = environment.get(name)
    if value is None or not value.isdecimal():
        raise UserError(f"{name}={value or ''}: accepted: a whole number (torchrun and srun set it)")
    return int(value)


def check_shared(config: Config, processes: int) -> None:
    """UserError with one line if this many processes cannot train one network of this config together."""
    model, batch = config.model, config.optim.batch
    if not isinstance(model, InceptionModel):
        if processes > 1:
            raise UserError(
                f"{processes} processes: model={model.name} is trained by one; a sweep (-m) runs many at once"
            )
        return
    if model.norm == "sync" and processes == 1:
        raise UserError(
            "model.norm=sync: needs a training shared by several processes, as torchrun or srun starts it; "
            "accepted with one: none, batch, ghost"
        )
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
