"""How a run is going while it trains: a bar of two lines on a terminal, elsewhere a line from time to time.

Both show numbers that are logged anyway, so that nothing waits for the device. The lines are in train.log in
either case.
"""

import contextlib
import sys
import time
from collections.abc import Mapping, MutableMapping
from typing import Any

from tqdm import tqdm

from bn.config import Config
from bn.run.directory import RunDirectory
from bn.run.telling import numbers_told
from bn.run.transcript import note, terminal

EVERY_S = 30.0  # a line comes at the first step that ends this long after the last line,
PARTS = 10  # and earlier when numbers are logged in the next of so many parts of the run,
LEAST_S = 1.0  # but no earlier than this
MIN_INTERVAL_S = 0.5  # between two drawings of the bar
FORMATS = (  # of the bar, the first of which that fits is taken
    "{desc} {percentage:3.0f}% |{bar}| {n:,}/{total:,} steps",
    "{percentage:3.0f}% |{bar}| {n:,}/{total:,}",
    "{percentage:3.0f}%",
)
LEAST_BAR = 5  # columns


class Progress:
    """For a run that resumes after step `first`. `bar`: whether there is one; None: if stderr is a terminal.

    `writes`: whether this process shows anything.
    """

    def __init__(self, config: Config, run: RunDirectory, first: int, bar: bool | None, writes: bool) -> None:
        self._run = run
        self._name = f"{config.experiment} seed {config.seed}"
        self._total = config.length
        self._first = self._step = first
        self._began = self._told_at = time.monotonic()
        self._told = PARTS * first // self._total
        self._latest: dict[str, float] = {}
        self._writes = writes
        disable = (None if bar is None else not bar) if writes else True
        stream = terminal(sys.stderr)
        self._numbers = tqdm(
            bar_format="{desc}", leave=False, disable=disable, file=stream, dynamic_ncols=True
        )
        self._bar = _Bar(
            self, total=self._total, initial=first, desc=self._name, leave=False, disable=disable,
            file=stream, mininterval=MIN_INTERVAL_S, dynamic_ncols=True,
        )  # fmt: skip

    def log(self, n: int, numbers: Mapping[str, float]) -> None:
        """Step `n` is done; `numbers` are those that were logged of it, at most steps none."""
        self._bar.update(n - self._step)
        self._step = n
        self._latest |= numbers
        if not self._writes or n in (self._first, self._total):
            return
        now, part = time.monotonic(), PARTS * n // self._total
        since = now - self._told_at
        if since >= EVERY_S or (numbers and part > self._told and since >= LEAST_S):
            self._told_at, self._told = now, part
            self._say(f"{self._name}: {', '.join(self._told_now())}; step {n:,} of {self._total:,}")

    def _say(self, line: str) -> None:
        if not self._bar.disable:
            note(self._run.path, f"{line}\n")
            return
        with contextlib.suppress(OSError):  # the reader may be gone, which is no reason for the run to end
            print(line, flush=True)

    def _told_now(self) -> list[str]:
        done = self._step - self._first
        left_s = (time.monotonic() - self._began) / done * (self._total - self._step) if done else None
        return numbers_told(self._latest, left_s)

    def show_numbers(self, columns: int) -> None:
        """Draw the line over the bar: as many numbers as fit, the most important ones first."""
        told = self._told_now()
        while len(told) > 1 and len("  ".join(told)) > columns:
            told.pop()
        self._numbers.set_description_str("  ".join(told))

    def close(self) -> None:
        self._bar.close()
        self._numbers.close()


class _Bar(tqdm):
    """A bar that fits the terminal. Whenever it is drawn, the line over it is too."""

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
        columns = found["ncols"] or 80  # some terminals do not know
        shown = {"desc": self.desc, "percentage": 0, "bar": " " * LEAST_BAR, "n": self.n, "total": self.total}
        fits = (text for text in FORMATS if len(text.format(**shown)) <= columns)
        return {**found, "ncols": columns, "bar_format": next(fits, FORMATS[-1])}
