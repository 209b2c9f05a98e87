"""TensorBoard: event files in `tensorboard/` of the run directory."""

import importlib.util
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import yaml

from bn.config import Config, TensorboardLogger, to_dict
from bn.errors import UserError
from bn.run.directory import RunDirectory

if TYPE_CHECKING:
    import numpy as np

    from bn.observe.observation import Histogram


class Tensorboard:
    """The event files of one start of a run, which begins after step `first`.

    TensorBoard discards what earlier starts wrote for later steps. The tab "custom scalars" draws the
    percentiles of each layer in one panel.
    """

    def __init__(self, config: Config, choice: TensorboardLogger, run: RunDirectory, first: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.writer: Any = SummaryWriter(
            run.path / "tensorboard", flush_secs=choice.flush_s, purge_step=first + (first > 0)
        )
        shown = yaml.safe_dump(to_dict(config), sort_keys=False)
        self.writer.add_text("config", f"```\n{shown}```", first)
        self._panels: dict[str, list[str]] = {}  # layer: names of its typical unit's percentiles

    def log(self, numbers: Mapping[str, float], step: int) -> None:
        for name, number in numbers.items():
            self.writer.add_scalar(name, number, step)
        panels: dict[str, list[str]] = {}
        for name in numbers:
            match name.split("/", 2):
                case ["percentiles", layer, curve] if curve.startswith("typical"):
                    panels.setdefault(layer, []).append(name)
        if panels.keys() - self._panels.keys():
            self._panels |= panels
            layout = {layer: ["Multiline", names] for layer, names in self._panels.items()}
            self.writer.add_custom_scalars({"percentiles of the typical unit": layout})

    def log_histograms(self, histograms: Mapping[str, "Histogram"], step: int) -> None:
        import numpy as np

        for name, (counts, edges) in histograms.items():
            centers = (edges[:-1] + edges[1:]) / 2
            self.writer.add_histogram_raw(
                name, min=edges[0], max=edges[-1], num=counts.sum(), sum=np.dot(counts, centers),
                sum_squares=np.dot(counts, centers**2), bucket_limits=edges[1:].tolist(),
                bucket_counts=counts.tolist(), global_step=step,
            )  # fmt: skip

    def log_image(self, name: str, pixels: "np.ndarray", step: int) -> None:
        self.writer.add_image(name, pixels, step, dataformats="HWC")

    def finish(self, state: str, reason: str | None) -> None:
        self.writer.close()


def check_tensorboard() -> None:
    """Raise UserError if TensorBoard is not installed."""
    if importlib.util.find_spec("tensorboard") is None:
        raise UserError('logger=tensorboard: tensorboard is not installed: pip install -e ".[tensorboard]"')
