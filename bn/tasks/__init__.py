"""What the training loop trains: a network on its data, behind one interface."""

import torch

from bn.config import Config, MlpModel
from bn.distributed.team import ALONE, Team
from bn.tasks.task import Task


def build_task(config: Config, device: torch.device, first: int, team: Team = ALONE) -> Task:
    """The task of `config` on `device`, to be trained by `team` from step `first` on.

    UserError for missing data.
    """
    if isinstance(config.model, MlpModel):
        from bn.tasks.mnist import MnistTask

        assert team.size == 1
        return MnistTask(config, device)
    from bn.tasks.images import ImageTask

    return ImageTask(config, device, first, team)


__all__ = ["Task", "build_task"]
