"""Heartbeats: which process works in a run directory, and whether it is alive.

While the directory is open, its file `lock` names the process, and a thread renews the file's modification
time every BEAT seconds; closing the directory empties the file. So a reader on any machine can tell a run
that is training from one that was killed, without taking the lock, which could make a run that is just
starting fail.
"""

import contextlib
import os
import platform
import re
import threading
import time
from pathlib import Path
from typing import NamedTuple

BEAT = 15.0  # seconds
# Seconds without a renewal after which a process on another machine counts as dead. A network file system
# may show times up to a minute late, and clocks may differ by some seconds.
SILENCE = 90.0


class Heartbeat:
    """A thread that renews a file's modification time until stopped."""

    def __init__(self, path: Path) -> None:
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._beat, args=(path,), name="heartbeat", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join()

    def _beat(self, path: Path) -> None:
        while not self._stopped.wait(BEAT):
            with contextlib.suppress(OSError):  # the next one may succeed
                os.utime(path)


def introduction() -> str:
    """The content of the lock file: a line for people, and one that identifies this process uniquely."""
    pid = os.getpid()
    return f"process {pid} on {platform.node()}\n{pid} {_machine()} {_born(pid)}\n"


class Holder(NamedTuple):
    """The process named in a lock file."""

    name: str  # process 123 on node1
    alive: bool


def holder_of(lock: Path) -> Holder | None:
    """The process named in `lock`, alive or dead; None if the directory was closed or never opened.

    Whether it is alive is known at once on this machine, and elsewhere follows from the last renewal's age.
    """
    try:
        if not lock.is_file():  # opening a pipe would block
            return None
        with lock.open(errors="replace") as file:
            # From the open file: on opening it, a network file system gets the current time from its server.
            touched = os.fstat(file.fileno()).st_mtime
            name, identity = [*file.read(1000).splitlines(), "", ""][:2]
    except OSError:
        return None
    if not name:
        return None
    alive = None
    if (match := re.fullmatch(r"(\d{1,9}) (\S+) (\d+)", identity)) and match[2] == _machine():
        alive = _is_alive(int(match[1]), match[3])
    if alive is None:
        alive = time.time() - touched < SILENCE
    return Holder(name, alive)


def _machine() -> str | None:
    """The scope in which a pid is unique: boot id and pid namespace. None except on Linux."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}/{os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return None


def _is_alive(pid: int, born: str) -> bool | None:
    """Return whether process `pid` on this machine exists and started at `born`; None if /proc hides it."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # another user's process
    found = _born(pid)
    return None if found is None else found == born


def _born(pid: int) -> str | None:
    """When the process started, in kernel ticks since boot; None if that cannot be read."""
    try:
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return "dead" if state in "ZX" else fields[18]  # a zombie remains until its parent waits for it
