"""How a run is going while it trains: a bar of two lines on a terminal, elsewhere a line now and then.

Both show numbers that are logged anyway, so that nothing waits for the device. The lines are in train.log in
either case.
"""

import contextlib
import sys
import time
from collections.abc import Mapping

from tqdm import tqdm

from bn.config import Config
from bn.run.directory import RunDirectory
from bn.run.telling import numbers_told
from bn.run.transcript import note, terminal

EVERY_S = 30.0  # a line comes after so long,
SHARE = 10  # or after this part of the run,
LEAST_S = 1.0  # but not sooner after the last
MIN_INTERVAL_S = 0.5  # between two drawings of the bar


class Progress:
    """Of a run that goes on after step `first`. `bar`: whether there is one; None: if stderr is a terminal.

    `writes`: whether this process shows anything.
    """

    def __init__(self, config: Config, run: RunDirectory, first: int, bar: bool | None, writes: bool) -> None:
        self._run = run
        self._name = f"{config.experiment} seed {config.seed}"
        self._total = config.length
        self._first = self._step = first
        self._began = self._told_at = time.monotonic()
        self._told = SHARE * first // self._total
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
            bar_format="{desc} {percentage:3.0f}% |{bar}| {n:,}/{total:,} steps",
        )  # fmt: skip

    def step(self) -> None:
        """One step more is done."""
        self._step += 1
        self._bar.update()

    def log(self, numbers: Mapping[str, float]) -> None:
        """What was logged of the latest step."""
        self._latest |= numbers
        if not self._writes or self._step == self._total:
            return
        now, part = time.monotonic(), SHARE * self._step // self._total
        since = now - self._told_at
        if since >= EVERY_S or (part > self._told and since >= LEAST_S):
            self._told_at, self._told = now, part
            self._say(f"{self._name}: {', '.join(self._told_now())}; step {self._step:,} of {self._total:,}")

    def _say(self, line: str) -> None:
        if not self._bar.disable:
            note(self._run.path, f"{line}\n")
            return
        with contextlib.suppress(OSError):  # whoever read this may have left: the run does not end with them
            print(line, flush=True)

    def _told_now(self) -> list[str]:
        done = self._step - self._first
        left_s = (time.monotonic() - self._began) / done * (self._total - self._step) if done else None
        return numbers_told(self._latest, left_s)

    def show_numbers(self) -> None:
        """The line over the bar."""
        self._numbers.set_description_str("  ".join(self._told_now()))

    def close(self) -> None:
        self._bar.close()
        self._numbers.close()


class _Bar(tqdm):
    """Whenever it is drawn, the line over it is too."""

    def __init__(self, progress: Progress, **options: object) -> None:
        self.progress = progress
        super().__init__(**options)  # type: ignore[arg-type]

    def display(self, msg: str | None = None, pos: int | None = None) -> None:
        if msg is None:
            self.progress.show_numbers()
        super().display(msg, pos)
