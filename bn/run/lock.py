"""The lock of a run directory, which lets one process at a time work in it and names that process."""

import contextlib
import fcntl
import os
from pathlib import Path
from typing import IO

from bn.errors import UserError
from bn.files import open_locked
from bn.run.heartbeat import Heartbeat, holder_of, introduction


class InUse(UserError):
    """Another process is using the run directory."""


class RunLock:
    """The lock of the run directory `folder`, held until `close`. Errors refer to the directory as `name`.

    Raises InUse if another process holds it, UserError if the file system does not support locks, or OSError.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self._path = folder / "lock"
        self._file: IO[str] | None = None
        self._folder: int | None = None
        self._heartbeat: Heartbeat | None = None
        try:
            self._lock_folder(folder)
            self._file = open_locked(self._path)
        except BlockingIOError:
            self.close()
            holder = holder_of(self._path)  # None if the file was removed
            by = holder.name[:200] if holder else "another process"
            raise InUse(f"{name}: in use by {by}: wait for it, or stop it") from None
        except OSError as error:
            self.close()
            if error.filename is not None:
                raise
            raise UserError(f"{name}: cannot be locked ({error.strerror or error})") from error

    def introduce(self) -> None:
        """Write this process's name to the lock file and start its heartbeat."""
        assert self._file is not None
        self._heartbeat = Heartbeat(self._path)
        self._file.truncate(0)
        self._file.write(introduction())
        self._file.flush()

    def close(self) -> None:
        if self._heartbeat is not None:
            self._heartbeat.stop()
        if self._file is not None:
            with contextlib.suppress(OSError):
                if self._heartbeat is not None:
                    self._file.truncate(0)  # no process works here now
            with contextlib.suppress(OSError):  # a full disk may have refused the name
                self._file.close()
        if self._folder is not None:
            os.close(self._folder)
        self._file = self._folder = self._heartbeat = None

    def _lock_folder(self, folder: Path) -> None:
        """Lock the directory as well, since the lock file may be removed while the process works.

        Some network file systems cannot lock directories; there only the file is locked.
        """
        self._folder = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(self._folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise
        except OSError:
            os.close(self._folder)
            self._folder = None
