"""Formats text for terminals: width, colors, columns and abbreviations."""

import csv
import io
import os
import shutil
import sys
from collections.abc import Iterable, Sequence

from bn.errors import printable

REFRESH_S = 5  # of --watch
RED, GREEN, YELLOW, MAGENTA, CYAN, BOLD, FAINT = 31, 32, 33, 35, 36, 1, 2
COLOURS = {
    "state": BOLD, "done": GREEN, "diverged": MAGENTA, "queued": FAINT, "running": CYAN,
    "interrupted": YELLOW, "lost": RED, "failed": RED,
}  # fmt: skip


def width() -> int:
    """The number of columns for a line; unlimited if the output is not a terminal."""
    # Minus one: some terminals wrap a full line.
    return shutil.get_terminal_size().columns - 1 if sys.stdout.isatty() else sys.maxsize


def colored(line: str) -> str:
    """Color the state at the start of a line, on a terminal without NO_COLOR."""
    state = line.partition(" ")[0]
    if not sys.stdout.isatty() or "NO_COLOR" in os.environ or state not in COLOURS:
        return line
    return f"\x1b[{COLOURS[state]}m{state}\x1b[0m{line[len(state) :]}"


def span(seconds: float) -> str:
    """Format a duration in its largest unit: 99s, 5m, 3h, 2d."""
    for unit, size, end in (("s", 1, 100), ("m", 60, 6000), ("h", 3600, 172_800)):
        if seconds < end:
            return f"{seconds // size:.0f}{unit}"
    return f"{seconds // 86_400:.0f}d"


def in_columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Format rows as lines with aligned columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [printable("  ".join(map(str.ljust, row, widths)).rstrip()) for row in rows]


def csv_line(values: Iterable[object]) -> str:
    """Format a row of a CSV file; None becomes an empty field."""
    line = io.StringIO()
    texts = ("" if value is None else printable(str(value)) for value in values)
    csv.writer(line, lineterminator="").writerow(texts)
    return line.getvalue()


def shortened(text: str, width: int) -> str:
    """Replace the middle of a longer text by …: names often differ only at their end."""
    head = (width - 1) // 2
    return text if len(text) <= width else f"{text[:head]}…{text[head + 1 - width :]}"


def cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: max(width - 1, 0)]}…"
