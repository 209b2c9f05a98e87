"""The metrics of a run while it trains: written to metrics.jsonl, the loggers and the progress display."""

import math
import time
from collections.abc import Mapping

from bn.config import Config
from bn.run.directory import RunDirectory
from bn.run.loggers import Loggers, open_loggers
from bn.run.progress import Progress


class Metrics:
    """Records the metrics of a run that starts after step `first`, trained for `earlier_s` seconds before.

    Only the process that `writes` has loggers and shows progress. `progress`: whether to show a bar on
    stderr; None: if it is a terminal.
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
        """Seconds of training so far, including those before resuming."""
        return time.perf_counter() - self.began

    def log(self, step: int, numbers: Mapping[str, float]) -> None:
        """Record the metrics of a completed step; most steps have none.

        Non-finite numbers are left out, since JSON cannot represent them: for instance the validation loss
        of a network whose outputs are not finite.
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


class Throughput:
    """Measures steps per second since step `first`. Start a new one after saving or evaluating."""

    def __init__(self, first: int) -> None:
        self.first = first
        self.began = time.perf_counter()

    def steps_per_second(self, n: int) -> float:
        return round((n - self.first) / (time.perf_counter() - self.began), 3)
