"""Decide whether to use torch.compile, and find out what it lacks on this machine."""

import importlib.util
import os
import shutil
import sysconfig
from pathlib import Path

import torch

from bn.errors import UserError


def should_compile(device: torch.device, wanted: str) -> bool:
    """Resolve `wanted`; `auto` compiles on a GPU if nothing is missing.

    Raises UserError if `always` is requested and something is missing.
    """
    if wanted == "never" or (wanted == "auto" and device.type != "cuda"):
        return False
    missing = missing_requirement(device)
    if missing and wanted == "always":
        raise UserError(f"compile=always: needs {missing}; accepted: auto, never")
    return missing is None


def missing_requirement(device: torch.device) -> str | None:
    """Describe the first missing requirement of torch.compile on `device`, or return None."""
    if not any(map(shutil.which, (os.environ.get("CXX", "c++"), "g++", "clang++"))):
        return "a C++ compiler (c++, g++ or clang++)"
    if device.type != "cuda":
        return None
    # On a GPU Inductor generates Triton, which compiles a Python C extension when it first launches a kernel.
    if importlib.util.find_spec("triton") is None:
        return "Triton (pip install triton)"
    if not any(map(shutil.which, [os.environ["CC"]] if "CC" in os.environ else ["gcc", "clang"])):
        return "a C compiler (gcc, clang or $CC)"
    scheme = sysconfig.get_default_scheme().replace("posix_local", "posix_prefix")  # as Triton does
    if not (Path(sysconfig.get_paths(scheme)["include"]) / "Python.h").exists():
        return "Python's headers (Python.h: the package python3-dev)"
    return None
