"""Which rank ended the training of all, and why, where the user looks for it.

torchrun ends the processes of its node when one of them ends, and the timeout of the process group ends the
wait for one that hangs. Neither says in the run directory what happened, and rank 0's main thread cannot
while it is stuck itself, as in a CUDA synchronization. So there is a connection of gloo's between rank 0 and
each other rank, over which nothing is sent before they part: a thread that receives from it learns at once
that the process at its other end is gone. What a rank has to say before it ends is in torchrun's store, which
outlives the ranks: the first word counts.
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

WITHOUT_0 = re.compile(
    r"rank 0( \(|, | did not come)|an answer of "
)  # reasons that rank 0 cannot say for all
GLOO = ("gloo", "Application timeout caused pair closure")  # in its errors, which are of type RuntimeError
ANSWER_S = 10.0  # of torchrun's store, to a question
GRACE_S = 5.0  # for the main thread to leave what it does, as W&B, once another rank is gone
SETTLE_S = 10.0  # between the first and the last of the ranks that wait for one that hangs
PATIENCE_S = 60.0  # of the other ranks with rank 0, which says which one it is


class Peers:
    """The other ranks as one of them sees them: whether they are there, and how they ended."""

    def __init__(self, ranks: Ranks, timeout_s: float, run: RunDirectory) -> None:
        self._rank, self._size = ranks.rank, ranks.size
        self._store: dist.Store | None = None  # before it is found, and once it no longer answers
        self._timeout_s = timeout_s
        self._missing = "the others"
        self._unmet: Exception | None = None
        self._run = run
        self._names: list[str] = []
        self._lines: Any = None
        self._threads: dict[int, threading.Thread] = {}
        self._main_is_out = threading.Event()
        self._parting = False
        self._ending = threading.Lock()

    def meet(self, stop_signal: Callable[[], int | None]) -> dist.Store:
        """Wait until all are there, not deaf to signals as `init_process_group` is; return the store.

        Where a rank fails before it comes, torchrun sends the others SIGTERM. UserError if there is no store.
        The meeting has a thread of its own: torch waits without end for a store that accepts a connection and
        says nothing.
        """
        meeting = threading.Thread(target=self._meet, daemon=True)
        meeting.start()
        end = time.monotonic() + self._timeout_s
        while meeting.is_alive():
            if stop_signal() is not None:
                self._end("interrupted", f"told to stop before {self._missing} had come")
            if time.monotonic() > end:
                reason = f"did not come within {self._timeout_s:g} s (rank_timeout_s)"
                self._end("interrupted", f"{self._missing} {reason}")
            meeting.join(0.1)
        if self._unmet is not None:
            raise self._unmet
        assert self._store is not None
        return self._store

    def _meet(self) -> None:
        place = f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
        keys = [f"rank/{rank}" for rank in range(self._size)]
        host = os.environ.get("SLURMD_NODENAME") or platform.node()
        self._missing = f"an answer of torchrun's store at {place}"
        try:
            # `meet` ends before this does, and says why.
            timeout = timedelta(seconds=self._timeout_s + 60)
            store, _, _ = next(dist.rendezvous("env://", timeout=timeout))
            store.set(keys[self._rank], f"rank {self._rank} (process {os.getpid()} on {host})")
            self._store = store
            while missing := [str(rank) for rank, key in enumerate(keys) if not store.check([key])]:
                self._missing = f"rank {', '.join(missing)}"
                time.sleep(0.1)
            self._names = [store.get(key).decode() for key in keys]
        except Exception as error:  # torch's are of several types
            said = " ".join(str(error).split("\n")[0].split())
            self._unmet = UserError(f"MASTER_ADDR:MASTER_PORT={place}: {said}; accepted: what torchrun sets")

    def listen(self) -> None:
        """From here on until `part` the end of a rank is the end of all."""
        self._lines = dist.new_group(backend="gloo", timeout=timedelta(days=365))
        for rank in range(1, self._size) if self._rank == 0 else [0]:
            self._threads[rank] = threading.Thread(target=self._listen, args=(rank,), daemon=True)
            self._threads[rank].start()

    def _listen(self, rank: int) -> None:
        try:
            dist.recv(torch.empty(1), rank, self._lines)
        except RuntimeError:  # gloo: connection closed by peer
            if self._parting:
                return
            self._end("interrupted", f"{self._names[rank]} is gone", GRACE_S)

    def explain(self, error: BaseException) -> None:
        """Return where `error` is this rank's own, and the first; else this process ends here."""
        self._main_is_out.set()
        # Collectives may be underway that never end, and at its end Python would wait for them.
        atexit.register(_exit)
        if isinstance(error, dist.DistError) or any(words in str(error) for words in GLOO):
            self._explain_collective()
        state = "interrupted" if is_out_of_memory(error) else "failed"
        reason = f"{self._names[self._rank]}: {reason_of(error)}"
        if self._first(state, reason)[0] != self._rank:
            self._end(state, reason)
        get_error_handler().record_exception(error)  # for torchrun's report

    def _explain_collective(self) -> None:
        """A collective failed since a rank is gone, which `_listen` hears; or hangs: then it says nothing."""
        self._say(f"waits/{self._rank}", "")
        time.sleep(PATIENCE_S if self._rank else SETTLE_S)
        still = [0]
        if self._rank == 0:
            still = [rank for rank in range(1, self._size) if not self._has(f"waits/{rank}")]
        if still:
            names = ", ".join(self._names[rank] for rank in still)
            self._end("interrupted", f"{names} stands still since {self._timeout_s:g} s (rank_timeout_s)")

    def part(self) -> None:
        """Leave the others, once all of them do."""
        self._parting = True
        for rank, thread in self._threads.items():
            with suppress(RuntimeError):  # it is gone; what there is to save is saved
                dist.send(torch.empty(1), rank, self._lines)
            thread.join(self._timeout_s)
        dist.destroy_process_group()

    def _first(self, state: str, reason: str) -> tuple[int, str, str]:
        """Who was the first to say what: maybe this rank, with this."""
        mine = json.dumps((self._rank, state, reason))
        said = self._asked(lambda store: store.compare_set("verdict", "", mine))
        return (self._rank, state, reason) if said is None else tuple(json.loads(said))

    def _say(self, key: str, value: str) -> None:
        self._asked(lambda store: store.set(key, value))

    def _has(self, key: str) -> bool:
        return bool(self._asked(lambda store: store.check([key])))

    def _asked(self, question: Callable[[dist.Store], T]) -> T | None:
        """What the store answers; None where it is gone with its node, or says nothing."""
        answers: list[T] = []

        def ask(store: dist.Store) -> None:
            with suppress(RuntimeError):
                answers.append(question(store))

        if self._store is not None:
            asking = threading.Thread(target=ask, args=(self._store,), daemon=True)
            asking.start()
            asking.join(ANSWER_S)
            if asking.is_alive():
                self._store = None
        return answers[0] if answers else None

    def _end(self, state: str, reason: str, grace_s: float = 0) -> NoReturn:
        """End this process because of that, or of what was said before. Rank 0 records and says it."""
        with self._ending:  # another thread that comes here waits until the end
            first, state, reason = self._first(state, reason)
            if not self._main_is_out.wait(grace_s) and f"rank {self._rank} (" in reason:
                faulthandler.dump_traceback(sys.stderr)
            if self._rank == 0 and not self._run.finished:
                with suppress(OSError):
                    self._run.set_status(state, self._run.status.get("step", 0), reason)
            if self._rank == 0 or (first == self._rank and WITHOUT_0.match(reason)):
                advice = ": the same command resumes it" if state == "interrupted" else ""
                print(f"train.py: {self._run.name}: {reason}{advice}", file=sys.stderr)
            time.sleep(0.5)  # torchrun's report is about the first that ends: let it see that one
            _exit()


def _exit() -> NoReturn:
    with suppress(OSError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(1)
