"""Loggers that mirror a run's metrics to W&B and TensorBoard, chosen by `logger` in the config.

A logger that fails is dropped with one line; the run and the other loggers continue. The run's own records
do not depend on them.
"""

import contextlib
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

from bn.config import Config
from bn.run.directory import ENDED, RunDirectory
from bn.run.loggers.logger import Logger, error_line
from bn.run.loggers.tensorboard import Tensorboard, check_tensorboard
from bn.run.loggers.wandb import Wandb, check_wandb

if TYPE_CHECKING:  # imports torch, which a refused config does not need
    from bn.observe.observation import Observer

NAMES = {"wandb": "W&B", "tensorboard": "TensorBoard"}


class Loggers:
    """All loggers of a run, possibly none."""

    def __init__(self, run: RunDirectory, constructors: Mapping[str, Callable[[], Logger]]) -> None:
        self.run = run
        self.loggers: dict[str, Logger] = {}
        for name, construct in constructors.items():
            with self._dropping_on_error(name):
                self.loggers[name] = construct()

    def log(self, numbers: Mapping[str, float], step: int) -> None:
        self._each(lambda logger: logger.log(numbers, step))

    def observe(self, observer: "Observer", step: int) -> None:
        """Log the observations of `step` that are not in metrics.jsonl."""
        if self.loggers:
            views = observer.views(step)
            self._each(lambda logger: logger.log(views.numbers, step))
            self._each(lambda logger: logger.log_histograms(views.histograms, step))

    def finish(self) -> None:
        """Report the state of the run to the loggers; if it has ended, also log a figure."""
        if not self.loggers:
            return
        status = self.run.status
        state = status.get("state", "failed")
        if state == "running":  # an exception, which is recorded later
            state = "failed"
        if state in ENDED:
            self._draw(status["step"])
        self._each(lambda logger: logger.finish(state, status.get("reason")))

    def _draw(self, step: int) -> None:
        """Log the run's percentiles as an image, if they were observed."""
        from bn.observe.figure import percentiles_figure  # imports matplotlib

        try:
            pixels = percentiles_figure(self.run.activations)
        except Exception as error:
            print(f"{self.run.name}: cannot draw its percentiles: {error_line(error)}", file=sys.stderr)
            return
        if pixels is not None:
            self._each(lambda logger: logger.log_image("percentiles/figure", pixels, step))

    def _each(self, use: Callable[[Logger], None]) -> None:
        for name, logger in list(self.loggers.items()):
            with self._dropping_on_error(name):
                use(logger)

    @contextlib.contextmanager
    def _dropping_on_error(self, name: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            self.loggers.pop(name, None)
            line = f"logger={name}: {error_line(error)}: continuing without {NAMES[name]}"
            print(f"{line}; the local records are complete", file=sys.stderr)


def open_loggers(config: Config, run: RunDirectory, first: int = 0) -> Loggers:
    """Open the loggers of `config` for `run`, which is open and starts after step `first`."""
    constructors: dict[str, Callable[[], Logger]] = {}
    wandb, tensorboard = config.logger.wandb, config.logger.tensorboard
    if wandb is not None and wandb.mode != "disabled":
        constructors["wandb"] = lambda: Wandb(config, wandb, run)
    if tensorboard is not None:
        constructors["tensorboard"] = lambda: Tensorboard(config, tensorboard, run, first)
    return Loggers(run, constructors)


def check_loggers(config: Config) -> None:
    """Raise UserError if a logger cannot be used as configured, for instance if it is not installed."""
    if config.logger.wandb is not None:
        check_wandb(config.logger.wandb)
    if config.logger.tensorboard is not None:
        check_tensorboard()
