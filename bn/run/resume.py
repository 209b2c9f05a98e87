"""What a checkpoint holds of the processes that trained: what the next step depends on besides the task.

One process leaves `losses` and `random`. Several leave the mean of their losses and the state of rank 0,
as if they had been one; each one's own are under `ranks`, a row for each rank, beside its moving averages, of
which the checkpoint's `model` has the mean.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from bn.config import Config, InceptionModel
from bn.data.seeds import derive_seed
from bn.distributed.team import Team, put_statistics
from bn.run.losses import LossWindow


def own_state(
    team: Team, losses: LossWindow, device: torch.device, statistics: Tensor | None
) -> dict[str, Any]:
    """For a checkpoint; `statistics` are those of `mean_statistics`, None of one process."""
    random = random_state(device)
    if statistics is None:
        return {"losses": losses.state_dict(), "random": random}
    rows = team.gather(losses.losses)
    mean = rows.double().mean(0).to(rows.dtype)
    ranks = {
        "statistics": statistics,
        "losses": rows,
        "random": {name: team.gather(state) for name, state in random.items()},
    }
    return {"losses": {"losses": mean, "count": losses.count}, "random": random, "ranks": ranks}


def restore_own(
    saved: Mapping[str, Any],
    team: Team,
    losses: LossWindow,
    device: torch.device,
    model: nn.Module,
    config: Config,
) -> str | None:
    """Put it back, once the task has its part. Where as many processes trained before, what follows is exact;
    else the line says what is not."""
    ranks = saved.get("ranks")
    before = len(ranks["losses"]) if ranks else 1
    losses.load_state_dict(saved["losses"])
    if before != team.size:
        if team.rank == 0:
            set_random_state(saved["random"], device)
        else:
            torch.manual_seed(derive_seed(config.seed, "torch", team.rank, saved["step"]))
        return what_changes(config, before, team.size)
    if ranks:
        put_statistics(model, ranks["statistics"][team.rank])
        losses.losses.copy_(ranks["losses"][team.rank])
        # Copies: of a view torch reads the beginning of what it is a view of.
        random = {name: rows[team.rank].clone() for name, rows in ranks["random"].items()}
        set_random_state(random, device)
    else:
        set_random_state(saved["random"], device)
    return None


def what_changes(config: Config, before: int, now: int) -> str:
    """One line: what is no longer exact where another number of processes resumes the run."""
    assert isinstance(config.model, InceptionModel)
    norm, batch = config.model.norm, config.optim.batch
    parts = ["sums over processes are rounded differently"]
    if norm == "batch":
        parts.append(f"{batch // now} examples are normalized together instead of {batch // before}")
    if norm in ("batch", "ghost"):
        parts.append("each process starts from the mean of the moving averages")
    if config.model.dropout:
        parts.append("dropout draws different numbers")
    processes = f"resumed by {now} process{'es' * (now > 1)} instead of {before}"
    return f"{processes}, so not to the same bits: {'; '.join(parts)}"


def random_state(device: torch.device) -> dict[str, Tensor]:
    """Of torch's generators, which dropout draws from; everything else is keyed by the seed."""
    cuda = {"cuda": torch.cuda.get_rng_state(device)} if device.type == "cuda" else {}
    return {"cpu": torch.get_rng_state(), **cuda}


def set_random_state(state: Mapping[str, Tensor], device: torch.device) -> None:
    torch.set_rng_state(state["cpu"])
    if device.type == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"], device)
