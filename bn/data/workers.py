"""How many processes decode if the config leaves it open, and whether shared memory has room for them."""

import os
import shutil
import sys
from pathlib import Path

from bn.errors import UserError

SHARED = Path("/dev/shm")  # through which they hand over what they make (Linux)


def worker_count(wanted: int | None, in_flight: int) -> int:
    """As many as `wanted`; None: one for each core of this process but its own, as far as memory is shared.

    `in_flight`: bytes of mini-batches that each has under way. UserError where there is no room for those of
    so many as are wanted: they would be killed in the middle of the run, one knows not why.
    """
    count = max(1, cores() - 1) if wanted is None else wanted
    free = shutil.disk_usage(SHARED).free if SHARED.exists() else None
    if free is None or count * in_flight <= free:
        return count
    room = f"{SHARED} has room for the mini-batches of {free // in_flight} ({free / 2**20:.0f} MiB free)"
    if wanted is not None:
        raise UserError(f"data.workers={wanted}: {room}: accepted: at most {free // in_flight}, or null")
    print(f"data.workers: {free // in_flight} processes decode instead of {count}: {room}", file=sys.stderr)
    return free // in_flight


def cores() -> int:
    """That this process may use: of several on this machine (torchrun) its share."""
    here = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, here // int(os.environ.get("LOCAL_WORLD_SIZE", 1)))
