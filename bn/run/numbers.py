"""Where the numbers of a run go while it trains: metrics.jsonl, the loggers, and who watches."""

import math
import time
from collections.abc import Mapping

from bn.config import Config
from bn.run.directory import RunDirectory
from bn.run.loggers import Loggers, open_loggers
from bn.run.progress import Progress


class Numbers:
    """For a run that resumes after step `first`, `earlier_s` seconds of training after its start.

    Only the process that `writes` has loggers and shows its progress: with `progress` as a bar on stderr;
    None: where it is a terminal.
    """

    def __init__(
        self, config: Config, run: RunDirectory, *, first: int, earlier_s: float, writes: bool,
        progress: bool | None,
    ) -> None:  # fmt: skip
        self.run = run
        self.began = time.perf_counter() - earlier_s
        self.loggers = open_loggers(config, run, first) if writes else Loggers(run, {})
        self.progress = Progress(config, run, first, progress, writes)

    @property
    def wall_s(self) -> float:
        """Seconds of training so far, those before the last checkpoint included."""
        return time.perf_counter() - self.began

    def log(self, step: int, numbers: Mapping[str, float]) -> None:
        """Record what is known of a step that is done; of most steps that is nothing.

        JSON has no infinity, so numbers that are not finite are left out, such as the validation loss of a
        network that gives no finite answers.
        """
        numbers = {name: value for name, value in numbers.items() if math.isfinite(value)}
        self.progress.log(step, numbers)
        if not numbers:
            return
        self.run.log({"step": step, "wall_s": round(self.wall_s, 3), **numbers})
        self.loggers.log(numbers, step)

    def close(self) -> None:
        self.progress.close()
        self.loggers.finish()


class Pace:
    """Steps per second since step `first`; a new one starts after what is no training, such as saving."""

    def __init__(self, first: int) -> None:
        self.first = first
        self.began = time.perf_counter()

    def steps_per_second(self, n: int) -> float:
        return round((n - self.first) / (time.perf_counter() - self.began), 3)
