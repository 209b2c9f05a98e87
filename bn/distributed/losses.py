"""The training losses since the last log."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from bn.distributed.team import ALONE, Team
from bn.errors import Diverged


class LossWindow:
    """The losses since the last log. They stay on the device; only `mean` synchronizes with it."""

    def __init__(self, size: int, device: torch.device) -> None:
        self.losses = torch.zeros(size, device=device)
        self.count = 0

    @property
    def full(self) -> bool:
        return self.count == len(self.losses)

    def add(self, loss: Tensor) -> None:
        self.losses[self.count] = loss
        self.count += 1

    def mean(self, step: int, team: Team = ALONE) -> float:
        """Return the mean over the window, which ends at `step`, and all ranks, and empty the window.

        Raises Diverged if a loss is not finite.
        """
        losses = (team.sum(self.losses[: self.count].double().cpu()) / team.size).numpy()
        bad = np.flatnonzero(~np.isfinite(losses))
        if len(bad):
            first = step - len(losses) + 1 + int(bad[0])
            raise Diverged(f"train/loss is {losses[bad[0]]} at step {first}")
        self.count = 0
        return float(losses.mean())

    def state_dict(self) -> dict[str, Any]:
        return {"losses": self.losses, "count": self.count}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.losses.copy_(state["losses"])
        self.count = state["count"]
