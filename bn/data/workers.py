"""The number of decoding processes, limited by the cores and the shared memory."""

import os
import shutil
import sys
from pathlib import Path

from bn.errors import UserError

SHARED = Path("/dev/shm")  # through which workers pass mini-batches on Linux


def worker_count(wanted: int | None, in_flight: int) -> int:
    """Return `wanted`, or if it is None the number of cores minus one, limited by shared memory.

    Each worker has up to `in_flight` bytes of mini-batches in shared memory. UserError if it cannot hold
    those of the `wanted` workers, which would otherwise be killed during the run.
    """
    count = max(1, cores() - 1) if wanted is None else wanted
    free = shutil.disk_usage(SHARED).free if SHARED.exists() else None
    if free is None or count * in_flight <= free:
        return count
    most = free // in_flight
    room = f"{SHARED} ({free / 2**20:.0f} MiB free) holds the mini-batches of at most {most}"
    if wanted is not None:
        raise UserError(f"data.workers={wanted}: {room}; accepted: at most {most}, or null")
    print(f"data.workers: {most} instead of {count}: {room}", file=sys.stderr)
    return most


def cores() -> int:
    """The number of cores for this process: its share if torchrun started several on this machine."""
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, available // int(os.environ.get("LOCAL_WORLD_SIZE", 1)))
