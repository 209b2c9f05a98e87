"""Signs of life: who works in a run directory, and whether that process is still there.

While the directory is open, the file `lock` in it names the process, and a thread renews the file's
modification time every BEAT seconds; closing the directory empties the file. So a reader on any machine can
tell a run that is still training from one that was killed. It does not need to take the lock, which could
make a run that is just starting fail.
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
# After so many seconds without a renewal a process on another machine counts as gone. A network file system
# may show times up to a minute late, and clocks may differ by some seconds.
SILENCE = 90.0


class Heartbeat:
    """Renews the modification time of a file until it is stopped."""

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
    """The content of the lock: a line for people, and one that no later process has."""
    pid = os.getpid()
    return f"process {pid} on {platform.node()}\n{pid} {_machine()} {_born(pid)}\n"


class Holder(NamedTuple):
    """The process that a lock names."""

    name: str  # process 123 on node1
    alive: bool


def holder_of(lock: Path) -> Holder | None:
    """Who works here, or was killed while working here; None where the directory was closed or never open.

    Of a process on this machine that is known at once; of others, from the age of the last renewal.
    """
    try:
        if not lock.is_file():  # a pipe would be waited for
            return None
        with lock.open(errors="replace") as file:
            # From the open file: a network file system asks its server for the time when it opens one.
            touched = os.fstat(file.fileno()).st_mtime
            name, identity = [*file.read(1000).splitlines(), "", ""][:2]
    except OSError:
        return None
    if not name:
        return None
    alive = None
    if (match := re.fullmatch(r"(\d{1,9}) (\S+) (\d+)", identity)) and match[2] == _machine():
        alive = _lives(int(match[1]), match[3])
    if alive is None:
        alive = time.time() - touched < SILENCE
    return Holder(name, alive)


def _machine() -> str | None:
    """Within what a process number is unique: a boot of a machine and a namespace. None except on Linux."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}/{os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return None


def _lives(pid: int, born: str) -> bool | None:
    """Whether the process `pid` of this machine exists and began at `born`; None where that is hidden."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # somebody else's
    found = _born(pid)
    return None if found is None else found == born


def _born(pid: int) -> str | None:
    """When the process started, in the kernel's ticks since the boot; None where that cannot be read."""
    try:
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return "dead" if state in "ZX" else fields[18]  # as a zombie, until its parent asks how it ended
