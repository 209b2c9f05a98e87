"""A terminal of a given width that records everything drawn on it."""

import contextlib
import fcntl
import os
import pty
import re
import struct
import sys
import termios
import threading
import time

from bn.files import REPOSITORY

ESCAPE = re.compile(r"\x1b\[\d*[A-Za-z]")


class Terminal:
    def __init__(self, columns, rows=24):
        self.ours, self.theirs = pty.openpty()
        fcntl.ioctl(self.theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.stream = os.fdopen(self.theirs, "w", encoding="utf-8", buffering=1)
        self._drawn = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self):
        with contextlib.suppress(OSError):  # closed
            while block := os.read(self.ours, 1 << 16):
                self._drawn.append(block)

    def close(self):
        """Return everything that was written to it."""
        self.stream.close()
        self._reader.join(10)
        os.close(self.ours)
        return b"".join(self._drawn).decode()


def pieces(drawn):
    """The pieces drawn, each from the start of a line."""
    return [ESCAPE.sub("", piece).rstrip() for piece in re.split(r"[\r\n]+", drawn)]


def screen(drawn, columns):
    """The final non-empty lines on the screen, none of which may be wider than `columns`."""
    lines, row, column = [""], 0, 0
    for part in re.findall(r"\x1b\[\d*[A-Za-z]|[\r\n]|[^\r\n\x1b]+", drawn):
        if part == "\r":
            column = 0
        elif part == "\n":
            row += 1
            lines += [""] * (row == len(lines))
        elif part.endswith("A"):
            row -= int(part[2:-1] or 1)
        elif part.endswith("J"):
            lines[row:] = [lines[row][:column]]
        else:
            lines[row] = lines[row][:column].ljust(column) + part + lines[row][column + len(part) :]
            column += len(part)
            assert column <= columns, part
    return [line.rstrip() for line in lines if line.strip()]


def command_in_terminal(columns, arguments, timeout=90):
    """Run `python train.py ...` in a terminal of its own; return its exit code and everything drawn."""
    pid, terminal = pty.fork()
    if pid == 0:
        fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        os.environ["PYTHONWARNINGS"] = "default"
        os.execv(sys.executable, [sys.executable, str(REPOSITORY / "train.py"), *arguments])
    drawn, end = [], time.monotonic() + timeout
    with contextlib.suppress(OSError):  # the program has ended
        while time.monotonic() < end and (block := os.read(terminal, 1 << 16)):
            drawn.append(block)
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), b"".join(drawn).decode()
