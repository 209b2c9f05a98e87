"""train.log: what a run prints, as text in its directory. It is for people: no code reads it."""

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tqdm import tqdm

NAME = "train.log"


def note(folder: Path, text: str) -> None:
    """Append `text` to the train.log of a run directory. What a full disk does not take is left out."""
    # Opened each time: it may be moved or removed during the run.
    with contextlib.suppress(OSError), (folder / NAME).open("a", errors="backslashreplace") as file:
        file.write(text)


@contextlib.contextmanager
def copied(folder: Path, shown: bool = True) -> Iterator[None]:
    """What Python prints, bars apart, goes into the train.log of `folder` too, unless `shown` only there."""
    out: Any = _Copying(sys.stdout, folder, shown)
    err: Any = _Copying(sys.stderr, folder, shown)
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        yield


class _Copying:
    """Stands for a stream: whole lines are printed over the bars there are, and copied."""

    def __init__(self, stream: Any, folder: Path, shown: bool) -> None:
        self._stream = stream
        self._folder = folder
        self._shown = shown
        self._begun = ""  # a line that is not complete yet

    def write(self, text: str) -> int:
        if "\r" in text:  # of a bar, which redraws its line
            return self._stream.write(text) if self._shown else len(text)
        lines, end, self._begun = (self._begun + text).rpartition("\n")
        if lines.strip():  # a bar that ends leaves an empty line
            note(self._folder, lines + end)
        if end and self._shown:
            with tqdm.external_write_mode(file=self):
                self._stream.write(lines + end)
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
