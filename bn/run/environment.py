"""Commit, versions and machine, recorded so that every number can be traced."""

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
