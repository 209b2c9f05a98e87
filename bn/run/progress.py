"""Shows the progress of a run: a bar of two lines on a terminal, elsewhere a line from time to time.

Both show metrics that are logged anyway, so nothing waits for the device. The lines always go to train.log.
"""

import contextlib
import sys
import time
from collections.abc import Mapping, MutableMapping
from typing import Any

from tqdm import tqdm

from bn.config import Config
from bn.run.directory import RunDirectory
from bn.run.formatting import format_metrics
from bn.run.transcript import append, unwrapped

EVERY_S = 30.0  # print a line at the first step that ends this long after the last line,
PARTS = 10  # or when metrics are logged in the next of this many parts of the run,
LEAST_S = 1.0  # but no earlier than this
MIN_INTERVAL_S = 0.5  # between two redraws of the bar
FORMATS = (  # of the bar; the first that fits is used
    "{desc} {percentage:3.0f}% |{bar}| {n:,}/{total:,} steps",
    "{percentage:3.0f}% |{bar}| {n:,}/{total:,}",
    "{percentage:3.0f}%",
)
LEAST_BAR = 5  # columns


class Progress:
    """The progress of a run that starts after step `first`.

    `bar`: whether to draw a bar; None: if stderr is a terminal. `writes`: whether to show anything at all.
    """

    def __init__(self, config: Config, run: RunDirectory, first: int, bar: bool | None, writes: bool) -> None:
        self._run = run
        self._name = f"{config.experiment} seed {config.seed}"
        self._total = config.length
        self._first = self._step = first
        self._began = self._printed_at = time.monotonic()
        self._part = PARTS * first // self._total
        self._latest: dict[str, float] = {}
        self._writes = writes
        disable = (None if bar is None else not bar) if writes else True
        stream = unwrapped(sys.stderr)
        self._numbers = tqdm(
            bar_format="{desc}", leave=False, disable=disable, file=stream, dynamic_ncols=True
        )
        self._bar = _Bar(
            self, total=self._total, initial=first, desc=self._name, leave=False, disable=disable,
            file=stream, mininterval=MIN_INTERVAL_S, dynamic_ncols=True,
        )  # fmt: skip

    def log(self, n: int, numbers: Mapping[str, float]) -> None:
        """Advance to completed step `n`, with the metrics logged at it; most steps have none."""
        self._bar.update(n - self._step)
        self._step = n
        self._latest |= numbers
        if not self._writes or n in (self._first, self._total):
            return
        now, part = time.monotonic(), PARTS * n // self._total
        since = now - self._printed_at
        if since >= EVERY_S or (numbers and part > self._part and since >= LEAST_S):
            self._printed_at, self._part = now, part
            line = f"{self._name}: {', '.join(self._formatted())}; step {n:,} of {self._total:,}"
            if not self._bar.disable:
                append(self._run.path, f"{line}\n")
                return
            with contextlib.suppress(OSError):  # a closed pipe must not end the run
                print(line, flush=True)

    def _formatted(self) -> list[str]:
        done = self._step - self._first
        left_s = (time.monotonic() - self._began) / done * (self._total - self._step) if done else None
        return format_metrics(self._latest, left_s)

    def show_numbers(self, columns: int) -> None:
        """Draw the line above the bar: as many metrics as fit, the most important first."""
        parts = self._formatted()
        while len(parts) > 1 and len("  ".join(parts)) > columns:
            parts.pop()
        self._numbers.set_description_str("  ".join(parts))

    def close(self) -> None:
        self._bar.close()
        self._numbers.close()


class _Bar(tqdm):
    """A bar that fits the terminal and redraws the line above it along with itself."""

    def __init__(self, progress: Progress, **options: object) -> None:
        self.progress = progress
        super().__init__(**options)  # type: ignore[arg-type]

    def display(self, msg: str | None = None, pos: int | None = None) -> None:
        if msg is None:
            self.progress.show_numbers(self.format_dict["ncols"])
        super().display(msg, pos)

    @property
    def format_dict(self) -> MutableMapping[str, Any]:
        found = super().format_dict
        columns = found["ncols"] or 80  # some terminals do not report it
        # At its widest, so that the format does not change during the run.
        widest = {
            "desc": self.desc,
            "percentage": 100,
            "bar": " " * LEAST_BAR,
            "n": self.total,
            "total": self.total,
        }
        fits = (text for text in FORMATS if len(text.format(**widest)) <= columns)
        return {**found, "ncols": columns, "bar_format": next(fits, FORMATS[-1])}
