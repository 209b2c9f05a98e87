"""Detects which rank ended the training and why, and records it in the run directory.

torchrun ends the processes of its node when one of them ends, and the process group's timeout ends the wait
for one that hangs. Neither records in the run directory what happened, and rank 0's main thread may itself be
stuck, for instance in a CUDA synchronization. So rank 0 has a gloo connection with each other rank. Nothing
is sent over it until they leave; a thread that receives from it notices at once when the other process dies.
A rank writes the reason why it ends to torchrun's store, which outlives the ranks. The first reason counts.
"""

import atexit
import faulthandler
import json
import os
import platform
import re
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any, NoReturn, TypeVar

import torch
import torch.distributed as dist
from torch.distributed.elastic.multiprocessing.errors import get_error_handler

from bn.distributed.ranks import Ranks
from bn.errors import UserError, is_out_of_memory, reason_of
from bn.run.directory import RunDirectory

T = TypeVar("T")

# Reasons that rank 0 cannot print for all ranks.
WITHOUT_0 = re.compile(r"rank 0( \(|, | did not respond)|torchrun's store at ")
GLOO = ("gloo", "Application timeout caused pair closure")  # texts in gloo's errors, which are RuntimeErrors
ANSWER_S = 10.0  # timeout of a request to torchrun's store
GRACE_S = 5.0  # for the main thread to leave its work, such as W&B's, once another rank has died
SETTLE_S = 10.0  # between the first and the last rank to notice that one hangs
PATIENCE_S = 60.0  # how long the other ranks wait for rank 0 to name the one that hangs


class Peers:
    """The other ranks as seen from this one: whether they are alive, and why they ended."""

    def __init__(self, ranks: Ranks, timeout_s: float, run: RunDirectory) -> None:
        self._rank, self._size = ranks.rank, ranks.size
        self._store: dist.Store | None = None  # None before connecting, and once it stops answering
        self._timeout_s = timeout_s
        self._missing = "the other ranks"
        self._error: Exception | None = None
        self._run = run
        self._names: list[str] = []
        self._group: Any = None
        self._threads: dict[int, threading.Thread] = {}
        self._main_left = threading.Event()
        self._leaving = False
        self._ending = threading.Lock()

    def rendezvous(self, stop_signal: Callable[[], int | None]) -> dist.Store:
        """Wait for all ranks and return the store. Unlike `init_process_group`, this responds to signals.

        If a rank fails before it connects, torchrun sends the others SIGTERM. Raises UserError if there is no
        store. Connecting runs in a thread of its own, since torch waits forever for a store that accepts a
        connection but never answers.
        """
        connecting = threading.Thread(target=self._connect, daemon=True)
        connecting.start()
        end = time.monotonic() + self._timeout_s
        while connecting.is_alive():
            if stop_signal() is not None:
                self._end("interrupted", f"stopped while waiting for {self._missing}")
            if time.monotonic() > end:
                reason = f"did not respond within {self._timeout_s:g} s (rank_timeout_s)"
                self._end("interrupted", f"{self._missing} {reason}")
            connecting.join(0.1)
        if self._error is not None:
            raise self._error
        assert self._store is not None
        return self._store

    def _connect(self) -> None:
        place = f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
        keys = [f"rank/{rank}" for rank in range(self._size)]
        host = os.environ.get("SLURMD_NODENAME") or platform.node()
        self._missing = f"torchrun's store at {place}"
        try:
            # Longer than the timeout in `rendezvous`, which reports the reason.
            timeout = timedelta(seconds=self._timeout_s + 60)
            store, _, _ = next(dist.rendezvous("env://", timeout=timeout))
            store.set(keys[self._rank], f"rank {self._rank} (process {os.getpid()} on {host})")
            self._store = store
            while missing := [str(rank) for rank, key in enumerate(keys) if not store.check([key])]:
                self._missing = f"rank {', '.join(missing)}"
                time.sleep(0.1)
            self._names = [store.get(key).decode() for key in keys]
        except Exception as error:  # torch raises several types
            line = " ".join(str(error).split("\n")[0].split())
            self._error = UserError(f"MASTER_ADDR:MASTER_PORT={place}: {line}; accepted: what torchrun sets")

    def listen(self) -> None:
        """From now on until `leave`, end this process if another rank dies."""
        self._group = dist.new_group(backend="gloo", timeout=timedelta(days=365))
        for rank in range(1, self._size) if self._rank == 0 else [0]:
            self._threads[rank] = threading.Thread(target=self._listen, args=(rank,), daemon=True)
            self._threads[rank].start()

    def _listen(self, rank: int) -> None:
        try:
            dist.recv(torch.empty(1), rank, self._group)
        except RuntimeError:  # gloo: connection closed by peer
            if self._leaving:
                return
            self._end("interrupted", f"{self._names[rank]} is gone", GRACE_S)

    def report(self, error: BaseException) -> None:
        """Return if `error` is this rank's own and the first of all ranks; otherwise end this process."""
        self._main_left.set()
        # Python would wait at exit for pending collectives, which may never complete.
        atexit.register(_exit)
        if isinstance(error, dist.DistError) or any(words in str(error) for words in GLOO):
            self._report_collective()
        state = "interrupted" if is_out_of_memory(error) else "failed"
        reason = f"{self._names[self._rank]}: {reason_of(error)}"
        if self._first(state, reason)[0] != self._rank:
            self._end(state, reason)
        get_error_handler().record_exception(error)  # for torchrun's report

    def _report_collective(self) -> None:
        """Handle a failed collective: `_listen` notices a dead rank; one that hangs sets no `waits` key."""
        self._request(lambda store: store.set(f"waits/{self._rank}", ""))
        time.sleep(PATIENCE_S if self._rank else SETTLE_S)
        hanging = [0]
        if self._rank == 0:
            hanging = [rank for rank in range(1, self._size) if not self._has(f"waits/{rank}")]
        if hanging:
            names = ", ".join(self._names[rank] for rank in hanging)
            self._end("interrupted", f"{names} did not respond for {self._timeout_s:g} s (rank_timeout_s)")

    def leave(self) -> None:
        """Disconnect from the other ranks, once all of them do."""
        self._leaving = True
        for rank, thread in self._threads.items():
            with suppress(RuntimeError):  # it has died; everything is already saved
                dist.send(torch.empty(1), rank, self._group)
            thread.join(self._timeout_s)
        dist.destroy_process_group()

    def _first(self, state: str, reason: str) -> tuple[int, str, str]:
        """Return the first rank to report, its state and reason, which are these if none was before."""
        mine = json.dumps((self._rank, state, reason))
        first = self._request(lambda store: store.compare_set("verdict", "", mine))
        return (self._rank, state, reason) if first is None else tuple(json.loads(first))

    def _has(self, key: str) -> bool:
        return bool(self._request(lambda store: store.check([key])))

    def _request(self, request: Callable[[dist.Store], T]) -> T | None:
        """Return the store's answer; None if it died with its node, or does not answer."""
        answers: list[T] = []

        def send(store: dist.Store) -> None:
            with suppress(RuntimeError):
                answers.append(request(store))

        if self._store is not None:
            sending = threading.Thread(target=send, args=(self._store,), daemon=True)
            sending.start()
            sending.join(ANSWER_S)
            if sending.is_alive():
                self._store = None
        return answers[0] if answers else None

    def _end(self, state: str, reason: str, grace_s: float = 0) -> NoReturn:
        """End this process for this reason, or the first one reported. Rank 0 records and prints it."""
        with self._ending:  # never released: another thread waits here until the process ends
            first, state, reason = self._first(state, reason)
            if not self._main_left.wait(grace_s) and f"rank {self._rank} (" in reason:
                faulthandler.dump_traceback(sys.stderr)
            if self._rank == 0 and not self._run.finished:
                with suppress(OSError):
                    self._run.set_status(state, self._run.status.get("step", 0), reason)
            if self._rank == 0 or (first == self._rank and WITHOUT_0.match(reason)):
                advice = ": the same command resumes it" if state == "interrupted" else ""
                print(f"train.py: {self._run.name}: {reason}{advice}", file=sys.stderr)
            time.sleep(0.5)  # torchrun reports the first rank that ends: let it notice that one
            _exit()


def _exit() -> NoReturn:
    with suppress(OSError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(1)
