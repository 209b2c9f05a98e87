"""The cost of a command: CPU seconds, memory and time of all its processes."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from bn.files import REPOSITORY

# Linux counts the memory that a process had before exec: a large parent would pass on its own.
SMALL = """
import os, subprocess, sys, time
began = time.perf_counter()
process = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL)
_, status, used = os.wait4(process.pid, 0)
print(used.ru_utime + used.ru_stime, used.ru_maxrss / 1024, time.perf_counter() - began)
sys.exit(os.waitstatus_to_exitcode(status) % 256)
"""


class Cost(NamedTuple):
    cpu_s: float  # of the command and its children
    mb: float  # the largest resident set among them
    wall_s: float


def used(command: Sequence[str]) -> Cost:
    """Run a command in the repository's root, with one thread per process; exit if it fails."""
    done = subprocess.run(
        [sys.executable, "-S", "-c", SMALL, *command], cwd=REPOSITORY, capture_output=True, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    if done.returncode:
        name = Path(sys.argv[0]).name
        sys.exit(f"{name}: {' '.join(command)}: exit code {done.returncode}\n{done.stderr}")
    return Cost(*map(float, done.stdout.split()))


def train(*arguments: str) -> list[str]:
    return [sys.executable, "train.py", *arguments]
