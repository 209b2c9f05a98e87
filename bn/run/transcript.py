"""train.log: a copy of everything a run prints, for people; no code reads it."""

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tqdm import tqdm

NAME = "train.log"


def append(folder: Path, text: str) -> None:
    """Append `text` to the train.log of a run directory. Text that a full disk refuses is dropped."""
    with contextlib.suppress(OSError):
        # Opened each time, since it may be moved or removed during the run. Without O_NONBLOCK, opening a
        # pipe would wait for a reader.
        file = os.open(folder / NAME, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NONBLOCK, 0o666)
        try:
            os.write(file, text.encode(errors="backslashreplace"))
        finally:
            os.close(file)


@contextlib.contextmanager
def copy_output(folder: Path, shown: bool = True) -> Iterator[None]:
    """Copy what Python prints to the train.log of `folder`; unless `shown`, print it only there.

    Progress bars, and output that C code writes directly, are not copied.
    """
    out: Any = _CopiedStream(sys.stdout, folder, shown)
    err: Any = _CopiedStream(sys.stderr, folder, shown)
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        yield


def unwrapped(stream: Any) -> Any:
    """Return the original stream, for progress bars, which are not copied."""
    return getattr(stream, "_wrapped", stream)


class _CopiedStream:
    """A stream whose complete lines are printed above any progress bars and copied to train.log."""

    def __init__(self, stream: Any, folder: Path, shown: bool) -> None:
        self._wrapped = stream  # tqdm looks for the original stream under this name
        self._folder = folder
        self._shown = shown
        self._partial = ""  # the current, incomplete line
        self._writing = False

    def write(self, text: str) -> int:
        if "\r" in text or self._writing:  # from a bar, which redraws its line
            return self._wrapped.write(text) if self._shown else len(text)
        lines, end, self._partial = (self._partial + text).rpartition("\n")
        if end:
            self._print(lines + end)
        return len(text)

    def _print(self, lines: str) -> None:
        if lines.strip():  # closing a bar leaves an empty line
            append(self._folder, lines)
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
