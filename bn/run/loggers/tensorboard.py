"""TensorBoard: event files in the run directory, in `tensorboard/`."""

import importlib.util
from collections.abc import Mapping
from typing import Any

import yaml

from bn.config import Config, TensorboardLogger, to_dict
from bn.errors import UserError
from bn.run.directory import RunDirectory


class Tensorboard:
    """The event files of one start of a run, which resumes after step `first`.

    TensorBoard leaves out what earlier starts wrote of the steps that come again.
    """

    def __init__(self, config: Config, choice: TensorboardLogger, run: RunDirectory, first: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.writer: Any = SummaryWriter(
            run.path / "tensorboard", flush_secs=choice.flush_s, purge_step=first + (first > 0)
        )
        shown = yaml.safe_dump(to_dict(config), sort_keys=False)
        self.writer.add_text("config", f"```\n{shown}```", first)

    def log(self, numbers: Mapping[str, float], step: int) -> None:
        for name, number in numbers.items():
            self.writer.add_scalar(name, number, step)

    def finish(self, state: str, reason: str | None) -> None:
        self.writer.close()


def check_tensorboard() -> None:
    """UserError where it is not installed."""
    if importlib.util.find_spec("tensorboard") is None:
        raise UserError('logger=tensorboard: tensorboard is not installed: pip install -e ".[tensorboard]"')
