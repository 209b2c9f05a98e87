"""What the training loop trains: a network on its data, behind one interface."""

import torch

from bn.config import Config, MlpModel
from bn.tasks.task import Task


def build_task(config: Config, device: torch.device, first: int) -> Task:
    """The task of `config` on `device`, to be trained from step `first` on. UserError for missing data."""
    if isinstance(config.model, MlpModel):
        from bn.tasks.mnist import MnistTask

        return MnistTask(config, device)
    from bn.tasks.images import ImageTask

    return ImageTask(config, device, first)


__all__ = ["Task", "build_task"]
