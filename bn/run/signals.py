"""Signals to stop: noted here, acted on by the loop at its next step, passed on to a sweep's workers.

SIGINT and SIGTERM; SIGHUP, where the terminal is closed; and SIGUSR2, which SLURM sends a while before the
time limit of a job (bn/cluster/requeue.py).
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
    """The first signal to stop, if any was received."""
    return _received[0] if _received else None


def install_handlers() -> None:
    for number in STOP:
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:  # nohup has it ignored
            signal.signal(number, _on_signal)
    if _in_worker():
        end_with_parent()


def end_with_parent(number: int = signal.SIGKILL) -> None:
    """Where the parent is killed outright this process gets a signal too, instead of going on (Linux)."""
    if sys.platform == "linux":
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, number)


def _in_worker() -> bool:
    """Of a sweep, or one of several that train together: Ctrl-C at a terminal comes once from there, and
    once more from the parent or from torchrun."""
    return multiprocessing.parent_process() is not None or "RANK" in os.environ


def _on_signal(number: int, _frame: Any) -> None:
    if number == signal.SIGHUP:
        _leave_the_terminal()
    if _received and number == signal.SIGINT and not _in_worker():
        raise KeyboardInterrupt  # a second Ctrl-C does not wait for the checkpoint
    _received.append(number)
    if len(_received) == 1 and not _in_worker():
        threading.Thread(target=_pass_on, daemon=True).start()


def _leave_the_terminal() -> None:
    """Where the terminal is gone, what is written to it would be an error before the run is saved."""
    for file in (1, 2):
        if stat.S_ISCHR(os.fstat(file).st_mode) and not os.isatty(file):
            os.dup2(os.open(os.devnull, os.O_WRONLY), file)


def _pass_on() -> None:
    while True:  # again and again, since a worker may be only just starting
        for child in multiprocessing.active_children():
            if child.pid is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child.pid, signal.SIGTERM)
        time.sleep(0.5)
