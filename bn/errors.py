"""The exceptions that are not programming errors, and what to say of any."""

import argparse
import errno
from collections.abc import Sequence
from typing import NoReturn


class UserError(Exception):
    """A mistake the user can mend; one line: the key or file, the value, and what would be right."""

    def __init__(self, line: str) -> None:
        super().__init__(printable(line))


class OutOfMemory(UserError):
    """Memory ran out, or the kernel killed a process for it: to the run it is as if it had been killed."""


class Arguments(argparse.ArgumentParser):
    """Of a script: a mistake in them is one line, without the page on how to use it."""

    def error(self, message: str) -> NoReturn:
        more = "" if "accepted" in message else "; --help shows what is accepted"
        self.exit(2, f"{self.prog}: {message}{more}\n")


class Interrupted(Exception):
    """A run was told to stop, and everything up to its last step is saved."""

    def __init__(self, signal: int) -> None:
        super().__init__(signal)
        self.signal = signal


class Diverged(Exception):
    """A result, not a failure: training left the finite numbers (section 4.2.2 reports such a run)."""


class CaptureFailed(Exception):
    """A step that ran could not be captured as a CUDA graph; it is as it was, and runs on without."""


# What torch, CUDA, cuBLAS, cuDNN and the C++ library say in RuntimeErrors.
NO_MEMORY = ("out of memory", "an't allocate memory", "annot allocate memory", "ALLOC_FAILED", "bad_alloc")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether the memory of the machine or of a GPU ran out."""
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    told = isinstance(error, RuntimeError) and any(words in str(error) for words in NO_MEMORY)
    return told or isinstance(error, (MemoryError, OutOfMemory))


def printable(text: str) -> str:
    """One line, without what would move the cursor or cannot be encoded: a damaged file may hold anything."""
    return "".join(character if character.isprintable() else "?" for character in text)


def listed(items: Sequence[str], most: int = 12) -> str:
    """The first items, and how many more there are: a line that somebody can read."""
    more = f", and {len(items) - most} more" if len(items) > most else ""
    return ", ".join(items[:most]) + more


def reason_of(error: BaseException) -> str:
    """One line that says why a run failed."""
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "no space left on the device: free some, then repeat the command"
    if is_out_of_memory(error):
        return _of_memory(error)
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}"
    return " ".join(f"{type(error).__name__}: {error}".split())


def _of_memory(error: BaseException) -> str:
    """What was asked for and what there is; torch goes on with advice about its allocator, and frames."""
    said = " ".join(str(error).split()) or type(error).__name__
    said = said.split("DefaultCPUAllocator: ")[-1]
    for rest in ("Of the allocated memory", "Exception raised from", "CUDA kernel errors", "Original Trace"):
        said = said.split(f" {rest}")[0]
    said = said.rstrip(".")
    return said if "out of memory" in said else f"out of memory ({said})"
