"""One process at a time works in a run directory: it holds the directory's lock, and shows that it is alive.

While the directory is open, the file `lock` in it names the process, and a thread renews the file's
modification time every BEAT seconds; closing the directory empties the file. So a reader on any machine can
tell a run that is still training from one that was killed. It does not need to take the lock, which could
make a run that is just starting fail.
"""

import contextlib
import fcntl
import os
import platform
import re
import threading
import time
from pathlib import Path
from typing import NamedTuple

from bn.errors import UserError
from bn.files import open_locked

BEAT = 15.0  # seconds
# After so many seconds without a renewal a process counts as gone. A network file system may show times up to
# a minute late, and clocks may differ by some seconds.
SILENCE = 90.0


class InUse(UserError):
    """Another process works in the run directory."""


class RunLock:
    """The lock of the run directory `folder`, held until `close`. `name` is what errors call it.

    InUse if another process holds it, UserError where the file system cannot lock, OSError.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self._path = folder / "lock"
        self._stopped = threading.Event()
        with contextlib.ExitStack() as held:
            try:
                opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
                held.callback(os.close, opened)
                _lock_too(opened)
                self._file = held.enter_context(open_locked(self._path))
            except BlockingIOError:
                holder = holder_of(self._path)  # the file may have been removed
                by = holder.name if holder else "another process"
                raise InUse(f"{name}: in use by {by}: wait for it, or stop it") from None
            except OSError as error:
                if error.filename is not None:
                    raise
                raise UserError(f"{name}: cannot be locked ({error.strerror or error})") from error
            held.callback(self._empty)
            self._file.truncate(0)
            os.write(self._file.fileno(), introduction().encode())
            thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)
            thread.start()
            held.callback(thread.join)
            held.callback(self._stopped.set)
            self.close = held.pop_all().close

    def _beat(self) -> None:
        while not self._stopped.wait(BEAT):
            with contextlib.suppress(OSError):  # the next one may succeed
                os.utime(self._path)

    def _empty(self) -> None:
        with contextlib.suppress(OSError):
            self._file.truncate(0)  # nobody works here now


def _lock_too(folder: int) -> None:
    """Lock the folder as well: the file in it may be removed while the process works."""
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError:
        pass  # a network file system, which may lock no folders


def introduction() -> str:
    """The content of the lock."""
    return f"process {os.getpid()} on {platform.node()}\n"


class Holder(NamedTuple):
    """The process that a lock names."""

    name: str  # process 123 on node1
    alive: bool


def holder_of(lock: Path) -> Holder | None:
    """Who works here, or was killed while working here; None where the directory was closed or never open.

    Of a process on this machine that is known at once; of others, from the age of the last renewal.
    """
    try:
        with lock.open(errors="replace") as file:
            # From the open file: a network file system asks its server for the time when it opens one.
            touched = os.fstat(file.fileno()).st_mtime
            name = file.readline(200).rstrip("\n")
    except OSError:
        return None
    if not name:
        return None
    here = re.fullmatch(r"process ([0-9]{1,9}) on (.*)", name)
    gone = here is not None and here[2] == platform.node() and not _exists(int(here[1]))
    return Holder(name, not gone and time.time() - touched < SILENCE)


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's
        pass
    return True
