"""Exceptions that are not programming errors, and one-line messages for any exception."""

import argparse
import errno
from collections.abc import Sequence
from typing import NoReturn


class UserError(Exception):
    """A mistake that the user can fix. One line: the key or file, its value, and what would be right."""

    def __init__(self, line: str) -> None:
        super().__init__(printable(line))


class OutOfMemory(UserError):
    """Memory ran out, or the kernel killed a process for it. The run is treated as killed, not as failed."""


class ArgumentParser(argparse.ArgumentParser):
    """An argument parser that reports a mistake on one line, without the usage text."""

    def error(self, message: str) -> NoReturn:
        more = "" if "accepted" in message else "; --help shows what is accepted"
        self.exit(2, f"{self.prog}: {message}{more}\n")


class Interrupted(Exception):
    """A signal stopped the run, and everything up to its last step is saved."""

    def __init__(self, signal: int) -> None:
        super().__init__(signal)
        self.signal = signal


class Diverged(Exception):
    """Training produced NaN or inf. This is a result, not a failure: section 4.2.2 reports such a run."""


class CaptureFailed(Exception):
    """A step could not be captured as a CUDA graph. Its state is unchanged, and it still runs eagerly."""


# Phrases in the RuntimeErrors of torch, CUDA, cuBLAS, cuDNN and the C++ library.
NO_MEMORY = ("out of memory", "an't allocate memory", "annot allocate memory", "ALLOC_FAILED", "bad_alloc")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether the memory of the machine or of a GPU ran out."""
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    if isinstance(error, RuntimeError) and any(phrase in str(error) for phrase in NO_MEMORY):
        return True
    return isinstance(error, (MemoryError, OutOfMemory))


def printable(text: str) -> str:
    """Replace characters that cannot be printed, such as line breaks and escapes, by question marks."""
    return "".join(character if character.isprintable() else "?" for character in text)


def listed(items: Sequence[str], most: int = 12) -> str:
    """Join the first `most` items with commas, and append how many more there are."""
    more = f", and {len(items) - most} more" if len(items) > most else ""
    return ", ".join(items[:most]) + more


def reason_of(error: BaseException) -> str:
    """Describe on one line why a run failed."""
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "no space left on the device: free some space, then repeat the command"
    if is_out_of_memory(error):
        return _memory_reason(error)
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}"
    return " ".join(f"{type(error).__name__}: {error}".split())


def _memory_reason(error: BaseException) -> str:
    """The requested and the available memory, without torch's allocator advice and stack frames."""
    reason = " ".join(str(error).split()) or type(error).__name__
    reason = reason.split("DefaultCPUAllocator: ")[-1]
    for rest in ("Of the allocated memory", "Exception raised from", "CUDA kernel errors", "Original Trace"):
        reason = reason.split(f" {rest}")[0]
    reason = reason.rstrip(".")
    return reason if "out of memory" in reason else f"out of memory ({reason})"
