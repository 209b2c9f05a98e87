"""Commit, versions and machine, recorded so that every number can be traced."""

import os
import platform
import time
from pathlib import Path
from typing import Any

from bn.run.code_state import code_state


def environment() -> dict[str, Any]:
    """The facts recorded in env.json at each start, and with every evaluation and benchmark."""
    import numpy
    import torch

    code = code_state()
    return {
        "commit": code.commit,
        "dirty": None if code.commit is None else bool(code.changes),
        "changes": code.digest,
        "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "host": platform.node(),
        "platform": platform.platform(),
        "processor": processor(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": numpy.__version__,
    }


def processor() -> str:
    """The CPU's model name and number of cores."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{names[0]}, {len(names)} cores" if names else platform.processor()


def job_id() -> str | None:
    """Return the id of this process's job as squeue shows it: 123, or 123_4 in an array. None: no job."""
    array, task = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    return f"{array}_{task}" if array and task else os.environ.get("SLURM_JOB_ID") or None
