"""One rank that raises, dies or hangs ends the training of all, within a bounded time and with the reason.

Each rank keeps an entry in the store where they met: a beat every second, how far its main thread is, why it
failed. Rank 0 reads them all and judges; the others read rank 0's entry, of which the verdict is a part. So
it is the same for all, and what is left for the others to find is that rank 0 itself is gone.

Two threads do this, as the main one may be stuck in a collective that never ends: `_talk` reads and writes,
which may never end either, and `_judge` looks at what was read and at the clock.
"""

import faulthandler
import json
import os
import platform
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from torch.distributed import Store

from bn.distributed.ranks import Ranks
from bn.errors import Interrupted, PeerFailed, reason_of

BEAT_S = 1.0
SILENCE_S = 15.0  # a process without a beat is gone; torchrun, which sees it too, gives the others 30 s
START_S = 3600.0  # for a rank's first step, at least
GRACE_S = 5.0  # for the main thread to leave by itself after a verdict


def host() -> str:
    return os.environ.get("SLURMD_NODENAME") or platform.node()


class Entry:
    """What a rank says of itself, and when its beat was last another."""

    def __init__(self, said: dict[str, Any]) -> None:
        self.said = said
        self.at = time.monotonic()

    def update(self, said: dict[str, Any]) -> None:
        if said["beat"] != self.said["beat"]:
            self.at = time.monotonic()
        self.said = said


class Watch:
    """One rank's part in it. On rank 0 `record` puts a verdict where the user will look for it."""

    def __init__(
        self, store: Store, ranks: Ranks, timeout_s: float, record: Callable[[PeerFailed], None]
    ) -> None:
        """`store` is a client for this alone. Each rank's entry is there when the constructor returns for
        all, and `start` comes after that."""
        self.verdict: PeerFailed | None = None
        self._store = store
        self._rank = ranks.rank
        self._read_ranks = range(ranks.size) if ranks.rank == 0 else range(1)
        self._timeout_s = timeout_s
        self._record = record
        self._mine: dict[str, Any] = {
            "beat": 0, "progress": 0, "host": host(), "pid": os.getpid(),
            "left": False, "reason": None, "verdict": None,
        }  # fmt: skip
        self._entries: dict[int, Entry] = {}
        self._progress = -1  # of all together
        self._heard = self._moved = self._looked = time.monotonic()
        self._wake = threading.Event()
        self._over = threading.Event()
        self._talker = threading.Thread(target=self._talk, name="watch: talk", daemon=True)
        self._publish()

    def start(self) -> None:
        self._read()
        self._talker.start()
        threading.Thread(target=self._judge, name="watch: judge", daemon=True).start()

    def tick(self) -> None:
        """This rank's main thread got on. PeerFailed where another's did not."""
        self._mine["progress"] += 1
        if self.verdict is not None:
            raise self.verdict

    def explain(self, error: BaseException) -> BaseException:
        """What ends this rank, whose main thread raised `error`: that, or what another rank did.

        A collective raises when a peer is gone, maybe before anybody can say which and why.
        """
        if isinstance(error, (Interrupted, PeerFailed)):
            return error
        if type(error) is RuntimeError or type(error).__name__.startswith("Dist"):
            self._wait_for_verdict(SILENCE_S + 3 * BEAT_S)
            if self.verdict is not None:
                return self.verdict
        reason = reason_of(error)
        self._mine["reason"] = reason
        if self._rank == 0:
            self._mine["verdict"] = self._mine["verdict"] or [0, "failed", f"rank 0 on {host()}: {reason}"]
            return error
        self._wait_for_verdict(3 * BEAT_S)
        said_by_another = self.verdict and self.verdict.rank != self._rank and reason in str(self.verdict)
        return self.verdict if self.verdict and said_by_another else error

    def leave(self) -> None:
        """This rank has nothing more to do with the others. Rank 0, which may hold the store, leaves last."""
        self._over.set()
        self._mine["left"] = True
        self._wake.set()
        self._talker.join(GRACE_S + 2 * BEAT_S)

    def _wait_for_verdict(self, seconds: float) -> None:
        self._wake.set()
        end = time.monotonic() + seconds
        while self.verdict is None and time.monotonic() < end:
            time.sleep(BEAT_S / 20)

    def _talk(self) -> None:
        while True:
            left = self._mine["left"]
            try:
                self._publish()
                if left and self._rank:
                    return  # rank 0 may be gone now
                self._read()
            except Exception:  # the process that holds the store is gone
                self._heard = float("-inf")
                return
            if left and all(entry.said["left"] for entry in self._entries.values()):
                return
            self._wake.wait(BEAT_S / 10 if left else BEAT_S)
            self._wake.clear()

    def _publish(self) -> None:
        self._mine["beat"] += 1
        self._store.set(key_of(self._rank), json.dumps(self._mine))

    def _read(self) -> None:
        read = self._store.multi_get([key_of(rank) for rank in self._read_ranks])
        for rank, said in zip(self._read_ranks, map(json.loads, read), strict=True):
            if rank in self._entries:
                self._entries[rank].update(said)
            else:
                self._entries[rank] = Entry(said)
        self._heard = time.monotonic()

    def _judge(self) -> None:
        while self.verdict is None:
            if self._over.wait(BEAT_S / 2):
                return
            self.verdict = self._find()
        if self._rank == 0:
            self._record(self.verdict)
            self._mine["verdict"] = [self.verdict.rank, self.verdict.state, str(self.verdict)]
            self._wake.set()
        if self._over.wait(GRACE_S):
            return
        if self.verdict.rank == self._rank:
            faulthandler.dump_traceback(sys.stderr)
        concerned = self.verdict.concerns(self._rank)
        if concerned:
            print(f"train.py: {self.verdict.advice}", file=sys.stderr, flush=True)
        os._exit(concerned)

    def _find(self) -> PeerFailed | None:
        now = time.monotonic()
        if now - self._looked > SILENCE_S / 2:  # it was this process that stood still, as by SIGSTOP
            self._heard = max(now, self._heard)
            self._moved = now
            for entry in self._entries.values():
                entry.at = now
        self._looked = now
        return self._find_in_rank_0(now) if self._rank == 0 else self._find_elsewhere(now)

    def _find_elsewhere(self, now: float) -> PeerFailed | None:
        entry = self._entries[0]
        if entry.said["verdict"]:
            return PeerFailed(*entry.said["verdict"])
        if now - min(self._heard, entry.at) > SILENCE_S:
            why = "its connections are closed" if self._heard < 0 else _no_sign()
            return PeerFailed(0, "interrupted", f"{self._named(0)} is gone: {why}")
        return None

    def _find_in_rank_0(self, now: float) -> PeerFailed | None:
        if now - self._heard > SILENCE_S:
            return PeerFailed(0, "interrupted", f"the store of the ranks is gone: {_no_sign()}")
        here = {rank: entry for rank, entry in self._entries.items() if not entry.said["left"]}
        for rank, entry in self._entries.items():
            if rank and entry.said["reason"]:
                reason = f"rank {rank} on {entry.said['host']}: {entry.said['reason']}"
                return PeerFailed(rank, "failed", reason)
        for rank, entry in here.items():
            if now - entry.at > SILENCE_S:
                return PeerFailed(rank, "interrupted", f"{self._named(rank)} is gone: {_no_sign()}")
        progress = {rank: entry.said["progress"] for rank, entry in here.items()}
        if sum(progress.values()) != self._progress or len(here) == 1:
            self._progress, self._moved = sum(progress.values()), now
        began = min(progress.values()) > 0  # before that data are listed and decoded, and networks compiled
        if now - self._moved > (self._timeout_s if began else max(self._timeout_s, START_S)):
            behind = [rank for rank, count in progress.items() if count == min(progress.values())]
            stuck = self._named(*behind) if len(behind) < len(here) else "each rank"
            reason = f"{stuck} stands still since {self._timeout_s:g} s (rank_timeout_s)"
            return PeerFailed(behind[0], "interrupted", reason)
        return None

    def _named(self, *ranks: int) -> str:
        said = ((rank, self._entries[rank].said) for rank in ranks)
        return ", ".join(f"rank {rank} (process {s['pid']} on {s['host']})" for rank, s in said)


def key_of(rank: int) -> str:
    """Of a rank's entry in the store."""
    return f"rank/{rank}"


def _no_sign() -> str:
    return f"no sign of life for {SILENCE_S:g} s"
