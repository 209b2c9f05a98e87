"""Where the ranks meet: in a store that rank 0 holds, or torchrun. No wait is without an end, or deaf."""

import os
import socket
import time
from collections.abc import Callable
from datetime import timedelta

from torch.distributed import PrefixStore, Store, TCPStore

from bn.distributed.ranks import Ranks
from bn.errors import Interrupted, PeerFailed, UserError

POLL_S = 0.1


class Rendezvous:
    """The way to the store. What waits raises PeerFailed `timeout_s` after the beginning, Interrupted at a
    signal."""

    def __init__(self, ranks: Ranks, timeout_s: float, stop_signal: Callable[[], int | None]) -> None:
        """Wait until the store is there. UserError where this rank should hold it and cannot."""
        self._ranks = ranks
        self._timeout_s = timeout_s
        self._end = time.monotonic() + timeout_s
        self._stop_signal = stop_signal
        held_by_torchrun = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
        self._held = self._hold() if ranks.rank == 0 and not held_by_torchrun else None
        while not self._answers():
            self._wait([0])

    def client(self, timeout_s: float) -> Store:
        """A connection of its own, for one thread; what it asks is answered within `timeout_s`."""
        timeout = timedelta(seconds=timeout_s)
        store = TCPStore(self._ranks.address, self._ranks.port, is_master=False, timeout=timeout)
        # torchrun's may still know what the ranks said that it started before these.
        return PrefixStore(f"bn/{os.environ.get('TORCHELASTIC_RESTART_COUNT', 0)}", store)

    def wait_for_keys(self, store: Store, keys: list[str]) -> None:
        """Wait until each rank has set its key."""
        missing = list(range(self._ranks.size))
        while missing := [rank for rank in missing if not store.check([keys[rank]])]:
            self._wait(missing)

    def _hold(self) -> Store:
        ranks, timeout = self._ranks, timedelta(seconds=self._timeout_s)
        try:
            return TCPStore(
                ranks.address, ranks.port, is_master=True, timeout=timeout, wait_for_workers=False
            )
        except RuntimeError as error:
            reason = " ".join(str(error).split())
            raise UserError(f"MASTER_PORT={ranks.port}: the ranks cannot meet there ({reason})") from error

    def _answers(self) -> bool:
        """Whether the store takes a connection. Its own client would wait for that, deaf to signals."""
        try:
            socket.create_connection((self._ranks.address, self._ranks.port), timeout=1).close()
        except OSError:
            return False
        return True

    def _wait(self, missing: list[int]) -> None:
        stop = self._stop_signal()
        if stop is not None:
            raise Interrupted(stop)
        if time.monotonic() > self._end:
            shown = ", ".join(map(str, missing))
            where = f"{self._ranks.address}:{self._ranks.port}"
            raise PeerFailed(
                missing[0], "interrupted",
                f"rank {shown} of {self._ranks.size} did not come to {where} within {self._timeout_s:g} s "
                "(rank_timeout_s)",
            )  # fmt: skip
        time.sleep(POLL_S)
