"""The loggers of a run, as one. One that fails is dropped with a line; the run and the others continue."""

import contextlib
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

from bn.config import Config
from bn.run.directory import ENDED, RunDirectory
from bn.run.loggers.logger import Logger
from bn.run.loggers.tensorboard import Tensorboard, check_tensorboard
from bn.run.loggers.wandb import Wandb, check_wandb

if TYPE_CHECKING:  # what imports torch, which a refused config does without
    from bn.observe.observation import Observer

NAMES = {"wandb": "W&B", "tensorboard": "TensorBoard"}


class Loggers:
    """All loggers of a run, possibly none."""

    def __init__(self, run: RunDirectory, constructors: Mapping[str, Callable[[], Logger]]) -> None:
        self.run = run
        self.loggers: dict[str, Logger] = {}
        for name, construct in constructors.items():
            with self._letting_go(name):
                self.loggers[name] = construct()

    def log(self, numbers: Mapping[str, float], step: int) -> None:
        self._each(lambda logger: logger.log(numbers, step))

    def observe(self, observer: "Observer", step: int) -> None:
        """Log what the observations of `step` show besides the numbers in metrics.jsonl."""
        if self.loggers:
            views = observer.views(step)
            self._each(lambda logger: logger.log(views.numbers, step))
            self._each(lambda logger: logger.log_histograms(views.histograms, step))

    def finish(self) -> None:
        """Report how this start of the run ended, as its status says; for an ended run also a figure."""
        if not self.loggers:
            return
        status = self.run.status
        state = status.get("state", "failed")
        if state == "running":  # it has raised, which is recorded later
            state = "failed"
        if state in ENDED:
            self._draw(status["step"])
        self._each(lambda logger: logger.finish(state, status.get("reason")))

    def _draw(self, step: int) -> None:
        """Log the run's percentiles as an image, where they were observed."""
        from bn.observe.figure import percentiles_figure  # imports matplotlib

        try:
            pixels = percentiles_figure(self.run.activations)
        except Exception as error:
            print(
                f"{self.run.name}: the figure of its percentiles is not drawn: {_line(error)}",
                file=sys.stderr,
            )
            return
        if pixels is not None:
            self._each(lambda logger: logger.log_image("percentiles/figure", pixels, step))

    def _each(self, use: Callable[[Logger], None]) -> None:
        for name, logger in list(self.loggers.items()):
            with self._letting_go(name):
                use(logger)

    @contextlib.contextmanager
    def _letting_go(self, name: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            self.loggers.pop(name, None)
            line = f"logger={name}: {_line(error)}: continuing without {NAMES[name]}"
            print(f"{line}; the local records are complete", file=sys.stderr)


def open_loggers(config: Config, run: RunDirectory, first: int = 0) -> Loggers:
    """The loggers of `config`, for a run that resumes after step `first`. `run` is open."""
    constructors: dict[str, Callable[[], Logger]] = {}
    wandb, tensorboard = config.logger.wandb, config.logger.tensorboard
    if wandb is not None and wandb.mode != "disabled":
        constructors["wandb"] = lambda: Wandb(config, wandb, run)
    if tensorboard is not None:
        constructors["tensorboard"] = lambda: Tensorboard(config, tensorboard, run, first)
    return Loggers(run, constructors)


def check_loggers(config: Config) -> None:
    """UserError where a logger cannot be used as asked, such as one that is not installed."""
    if config.logger.wandb is not None:
        check_wandb(config.logger.wandb)
    if config.logger.tensorboard is not None:
        check_tensorboard()


def _line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())
