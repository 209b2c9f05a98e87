"""TensorBoard: event files in the run directory, in `tensorboard/`."""

import importlib.util
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import yaml

from bn.config import Config, TensorboardLogger, to_dict
from bn.errors import UserError
from bn.run.directory import RunDirectory

if TYPE_CHECKING:
    import numpy as np

    from bn.observe.observation import Shown


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

    def log(self, values: Mapping[str, "Shown"], step: int) -> None:
        for name, value in values.items():
            if isinstance(value, tuple):
                self._log_histogram(name, *value, step)
            elif isinstance(value, (int, float)):
                self.writer.add_scalar(name, value, step)
            else:
                self.writer.add_image(name, value, step, dataformats="HWC")

    def _log_histogram(self, name: str, counts: "np.ndarray", edges: "np.ndarray", step: int) -> None:
        centres = (edges[:-1] + edges[1:]) / 2
        self.writer.add_histogram_raw(
            name, min=edges[0], max=edges[-1], num=counts.sum(), sum=counts @ centres,
            sum_squares=counts @ centres**2, bucket_limits=edges[1:].tolist(),
            bucket_counts=counts.tolist(), global_step=step,
        )  # fmt: skip

    def finish(self, state: str, reason: str | None) -> None:
        self.writer.close()


def check_tensorboard() -> None:
    """UserError where it is not installed."""
    if importlib.util.find_spec("tensorboard") is None:
        raise UserError('logger=tensorboard: tensorboard is not installed: pip install -e ".[tensorboard]"')
