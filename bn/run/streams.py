"""Standard output that cannot end a training: what its streams refuse is dropped.

Otherwise a run would fail because the program behind a pipe has ended, the terminal has closed, the disk with
its output is full, or the terminal's encoding lacks a character of a path. train.log has a copy anyway.
"""

import io
import os
import sys
from typing import Any


class LastingStream(io.TextIOWrapper):
    """A text stream in place of another, which writes to the null device once its file refuses a write."""

    def __init__(self, stream: io.TextIOWrapper) -> None:
        buffering = stream.line_buffering
        super().__init__(stream.buffer, stream.encoding, stream.errors, line_buffering=buffering)
        self._replaced = stream  # it would close the buffer if it were deleted

    def write(self, text: str) -> int:
        try:
            return super().write(text)
        except OSError:
            self._discard()
            return len(text)

    def flush(self) -> None:
        try:
            super().flush()
        except OSError:
            self._discard()

    def _discard(self) -> None:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, self.fileno())
        os.close(null)


def print_any_text() -> None:
    """Escape characters that the encoding of stdout lacks; replace closed streams by the null device."""
    while (null := os.open(os.devnull, os.O_RDWR)) <= 2:  # or print would write to the next file opened
        pass
    os.close(null)
    for name in ("stdout", "stderr"):
        stream: Any = getattr(sys, name) or open(os.devnull, "a")  # noqa: SIM115
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
        setattr(sys, name, stream)


def outlast_streams() -> None:
    """Call `print_any_text`, and drop output when stdout and stderr can no longer be written."""
    print_any_text()
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if type(stream) is io.TextIOWrapper:  # neither lasting already nor a notebook's
            setattr(sys, name, LastingStream(stream))
