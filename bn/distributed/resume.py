"""The state of the training processes in a checkpoint: logged losses, random state, moving averages.

One process saves `losses` and `random`. Several processes save the mean of their losses and the random state
of rank 0 under the same two keys; `ranks` holds each rank's own, one row per rank, together with its moving
averages, whose mean is in the checkpoint's `model`.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from bn.config import Config, InceptionModel
from bn.data.seeds import derive_seed
from bn.distributed.losses import LossWindow
from bn.distributed.team import Team, load_statistics


def process_state(
    team: Team, losses: LossWindow, device: torch.device, statistics: Tensor | None
) -> dict[str, Any]:
    """Return the state for a checkpoint. `statistics`: those that `mean_statistics` yields."""
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


def restore_process_state(
    saved: Mapping[str, Any],
    team: Team,
    losses: LossWindow,
    device: torch.device,
    model: nn.Module,
    config: Config,
) -> str | None:
    """Restore this rank's state, after that of the task.

    With the same number of processes as before, training continues exactly. Otherwise return a line that
    says what differs.
    """
    ranks = saved.get("ranks")
    before = len(ranks["losses"]) if ranks else 1
    losses.load_state_dict(saved["losses"])
    if before != team.size:
        if team.rank == 0:
            set_random_state(saved["random"], device)
        else:
            torch.manual_seed(derive_seed(config.seed, "torch", team.rank, saved["step"]))
        return inexact(config, before, team.size)
    if ranks:
        load_statistics(model, ranks["statistics"][team.rank])
        losses.losses.copy_(ranks["losses"][team.rank])
        # Copies: for a view, torch would read from the start of its storage.
        random = {name: rows[team.rank].clone() for name, rows in ranks["random"].items()}
        set_random_state(random, device)
    else:
        set_random_state(saved["random"], device)
    return None


def inexact(config: Config, before: int, now: int) -> str:
    """Describe in one line what is not exact when another number of processes resumes a run."""
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
    return f"{processes}, so results are not bit-exact: {'; '.join(parts)}"


def random_state(device: torch.device) -> dict[str, Tensor]:
    """The state of torch's generators, which dropout uses; all other randomness is derived from the seed."""
    cuda = {"cuda": torch.cuda.get_rng_state(device)} if device.type == "cuda" else {}
    return {"cpu": torch.get_rng_state(), **cuda}


def set_random_state(state: Mapping[str, Tensor], device: torch.device) -> None:
    torch.set_rng_state(state["cpu"])
    if device.type == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"], device)
