"""Stop signals: recorded here, acted on by the training loop at its next step, forwarded to sweep workers.

These are SIGINT, SIGTERM, SIGHUP (the terminal closed) and SIGUSR2, which SLURM sends some time before a
job's time limit (bn/cluster/requeue.py).
"""

import contextlib
import ctypes
import multiprocessing
import os
import signal
import stat
import sys
import threading
import time
from typing import Any

STOP = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR2)
_received: list[int] = []


def stop_signal() -> int | None:
    """Return the first stop signal received, if any."""
    return _received[0] if _received else None


def install_handlers() -> None:
    for number in STOP:
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:  # nohup ignores it
            signal.signal(number, _on_signal)
    if _in_worker():
        end_with_parent()


def end_with_parent(number: int = signal.SIGKILL) -> None:
    """Have the kernel send this process a signal if its parent dies (Linux)."""
    if sys.platform == "linux":
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, number)


def _in_worker() -> bool:
    """Return whether this process is a sweep worker or a torchrun rank.

    It receives Ctrl-C twice: from the terminal, and from its parent or torchrun.
    """
    return multiprocessing.parent_process() is not None or "RANK" in os.environ


def _on_signal(number: int, _frame: Any) -> None:
    if number == signal.SIGHUP:
        _detach_from_terminal()
    if _received and number == signal.SIGINT and not _in_worker():
        raise KeyboardInterrupt  # a second Ctrl-C does not wait for the checkpoint
    _received.append(number)
    if len(_received) == 1 and not _in_worker():
        threading.Thread(target=_forward, daemon=True).start()


def _detach_from_terminal() -> None:
    """Redirect output to /dev/null if the terminal is gone; a failing write would end the run unsaved."""
    for file in (1, 2):
        if stat.S_ISCHR(os.fstat(file).st_mode) and not os.isatty(file):
            os.dup2(os.open(os.devnull, os.O_WRONLY), file)


def _forward() -> None:
    while True:  # repeatedly, since a worker may be just starting
        for child in multiprocessing.active_children():
            if child.pid is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child.pid, signal.SIGTERM)
        time.sleep(0.5)
