"""Tasks: a network, its data and its training step, behind the interface that the training loop uses."""

import torch

from bn.config import Config, MlpModel
from bn.distributed.team import ALONE, Team
from bn.tasks.task import Task


def build_task(config: Config, device: torch.device, first: int, team: Team = ALONE) -> Task:
    """Build the task of `config` on `device`, which `team` trains after step `first`.

    Raises UserError if data are missing.
    """
    if isinstance(config.model, MlpModel):
        from bn.tasks.mnist import MnistTask

        assert team.size == 1
        return MnistTask(config, device)
    from bn.tasks.images import ImageTask

    return ImageTask(config, device, first, team)


__all__ = ["Task", "build_task"]
