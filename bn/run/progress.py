"""How a run is going while it trains: a bar on a terminal, elsewhere a line from time to time.

Both show numbers that are logged anyway, so that nothing waits for the device. The lines are in train.log in
either case.
"""

import contextlib
import time
from collections.abc import Mapping

from tqdm import tqdm

from bn.config import Config
from bn.run.directory import RunDirectory
from bn.run.telling import ACCURACIES, LOSS, duration
from bn.run.transcript import note

EVERY_S = 30.0  # a line comes at the first step that ends this long after the last line,
PARTS = 10  # and when numbers are logged in the next of so many parts of the run,
LEAST_S = 1.0  # but no earlier than this
# Of the bar; the first that fits the terminal is taken, so that nothing is cut.
FORMATS = (
    "{desc}{remaining} left {percentage:3.0f}% |{bar}| {n:,}/{total:,} steps",
    "{desc}{remaining} left {percentage:3.0f}% {n:,}/{total:,} steps",
    "{desc}{remaining} left {percentage:3.0f}%",
    "{desc}{remaining} left",
    "{desc}",
    "{percentage:3.0f}%",
)
MIN_INTERVAL_S = 0.5  # between two drawings of the bar


class Progress:
    """For a run that resumes after step `first`. `bar`: whether there is one; None: if stderr is a terminal.

    `writes`: whether this process shows anything.
    """

    def __init__(self, config: Config, run: RunDirectory, first: int, bar: bool | None, writes: bool) -> None:
        self._run = run
        self._name = f"{config.experiment} seed {config.seed}"
        self._first, self._total = first, config.length
        self._began = self._told_at = time.monotonic()
        self._part = PARTS * first // self._total
        self._latest: dict[str, float] = {}
        self._writes = writes
        self._bar = tqdm(
            total=self._total, initial=first, bar_format=FORMATS[-1], leave=False,
            disable=True if not writes else None if bar is None else not bar,
            mininterval=MIN_INTERVAL_S, dynamic_ncols=True,
        )  # fmt: skip
        self._fit()

    def log(self, n: int, numbers: Mapping[str, float]) -> None:
        """Step `n` is done; `numbers` are those that were logged of it, at most steps none."""
        if numbers:
            self._latest |= numbers
            self._fit()
        self._bar.update(n - self._bar.n)
        if not (self._writes and self._first < n < self._total):
            return
        now, part = time.monotonic(), PARTS * n // self._total
        since = now - self._told_at
        if since >= EVERY_S or (numbers and part > self._part and since >= LEAST_S):
            self._told_at, self._part = now, part
            left_s = (now - self._began) / (n - self._first) * (self._total - n)
            parts = [*told(self._latest), f"{duration(left_s)} left"]
            self._say(f"{self._name}: {', '.join(parts)}; step {n:,} of {self._total:,}")

    def _fit(self) -> None:
        """Put the latest numbers into the bar, in the form that fits the terminal."""
        if self._bar.disable:
            return
        desc = "  ".join([*told(self._latest), ""])
        columns = self._bar.format_dict["ncols"] or 80  # some terminals do not know
        widest = {"remaining": "0:00:00", "percentage": 100, "bar": " " * 5, "n": self._total}
        fits = (
            form for form in FORMATS if len(form.format(desc=desc, total=self._total, **widest)) <= columns
        )
        self._bar.bar_format = next(fits, FORMATS[-1])
        self._bar.set_description_str(desc, refresh=False)

    def _say(self, line: str) -> None:
        if not self._bar.disable:
            note(self._run.path, f"{line}\n")
            return
        with contextlib.suppress(OSError):  # the reader may be gone, which is no reason for the run to end
            print(line, flush=True)

    def close(self) -> None:
        self._bar.close()


def told(latest: Mapping[str, float]) -> list[str]:
    """What matters most of the `latest` logged numbers: accuracy and loss, as far as they are known."""
    parts = [f"accuracy {latest[name]:.2%}" for name in ACCURACIES if name in latest][:1]
    if LOSS in latest:
        parts.append(f"loss {latest[LOSS]:.4g}")
    return parts
