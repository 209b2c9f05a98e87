"""train.log: what a run prints, as text in its directory. It is for people: no code reads it."""

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tqdm import tqdm

NAME = "train.log"


def note(folder: Path, text: str) -> None:
    """Append `text` to the train.log of a run directory. What a full disk does not take is left out."""
    with contextlib.suppress(OSError):
        # Opened each time: it may be moved or removed during the run. Opening a pipe would wait for a reader.
        file = os.open(folder / NAME, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NONBLOCK, 0o666)
        try:
            os.write(file, text.encode(errors="backslashreplace"))
        finally:
            os.close(file)


@contextlib.contextmanager
def copied(folder: Path, shown: bool = True) -> Iterator[None]:
    """What this process prints goes into the train.log of `folder` too, or, unless `shown`, only there.

    What Python prints: neither bars nor what C code writes to the terminal by itself.
    """
    out: Any = _Copying(sys.stdout, folder, shown)
    err: Any = _Copying(sys.stderr, folder, shown)
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        yield


def terminal(stream: Any) -> Any:
    """The stream itself, for a bar, which is not copied."""
    return getattr(stream, "_wrapped", stream)


class _Copying:
    """Stands for a stream: whole lines are printed over the bars there are, and copied."""

    def __init__(self, stream: Any, folder: Path, shown: bool) -> None:
        self._wrapped = stream  # the name by which tqdm knows what a stream stands for
        self._folder = folder
        self._shown = shown
        self._begun = ""  # a line that is not complete yet
        self._writing = False

    def write(self, text: str) -> int:
        if "\r" in text or self._writing:  # of a bar, which redraws its line
            return self._wrapped.write(text) if self._shown else len(text)
        lines, end, self._begun = (self._begun + text).rpartition("\n")
        if end:
            self._print(lines + end)
        return len(text)

    def _print(self, lines: str) -> None:
        if lines.strip():  # a bar that ends leaves an empty line
            note(self._folder, lines)
        if self._shown:
            self._writing = True
            try:
                tqdm.write(lines, file=self._wrapped, end="")
            finally:
                self._writing = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._wrapped, name)

    def __eq__(self, other: object) -> bool:
        return self._wrapped is getattr(other, "_wrapped", other)

    __hash__ = None  # type: ignore[assignment]
