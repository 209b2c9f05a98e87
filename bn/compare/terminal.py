"""Text for a terminal: its width, and what gives way where it is narrow."""

import csv
import io
import os
import shutil
import sys
from collections.abc import Iterable, Sequence

from bn.errors import printable

EVERY = 5  # seconds between two looks with --watch
RED, GREEN, YELLOW, MAGENTA, CYAN, BOLD, FAINT = 31, 32, 33, 35, 36, 1, 2
COLOURS = {
    "state": BOLD, "done": GREEN, "diverged": MAGENTA, "queued": FAINT, "running": CYAN,
    "interrupted": YELLOW, "lost": RED, "failed": RED,
}  # fmt: skip


def width() -> int:
    """Columns that a line may take: without end where the output is no terminal."""
    # One less than there are: on some terminals a full line wraps.
    return shutil.get_terminal_size().columns - 1 if sys.stdout.isatty() else sys.maxsize


def coloured(line: str) -> str:
    """A line that begins with a state, which has its colour on a terminal that wants any."""
    state = line.partition(" ")[0]
    if not sys.stdout.isatty() or "NO_COLOR" in os.environ or state not in COLOURS:
        return line
    return f"\x1b[{COLOURS[state]}m{state}\x1b[0m{line[len(state) :]}"


def span(seconds: float) -> str:
    """A time in its largest unit: 99s, 5m, 3h, 2d."""
    for unit, size, end in (("s", 1, 100), ("m", 60, 6000), ("h", 3600, 172_800)):
        if seconds < end:
            return f"{seconds // size:.0f}{unit}"
    return f"{seconds // 86_400:.0f}d"


def in_columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """The rows as lines, each cell as wide as its column."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [printable("  ".join(map(str.ljust, row, widths)).rstrip()) for row in rows]


def csv_line(values: Iterable[object]) -> str:
    """A row of a CSV file; None is empty."""
    line = io.StringIO()
    texts = ("" if value is None else printable(str(value)) for value in values)
    csv.writer(line, lineterminator="").writerow(texts)
    return line.getvalue()


def shortened(text: str, width: int) -> str:
    """What is longer loses its middle: a name ends with what tells it from its neighbours."""
    head = (width - 1) // 2
    return text if len(text) <= width else f"{text[:head]}…{text[head + 1 - width :]}"


def cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: max(width - 1, 0)]}…"
