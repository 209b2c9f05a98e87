"""Whether torch.compile has what it needs here."""

import importlib.util
import os
import shutil
import sysconfig
from pathlib import Path

import torch

from bn.errors import UserError


def wants_compiling(device: torch.device, wanted: str) -> bool:
    """What `auto` means: on a GPU, if all is there. UserError if something is not and it is asked for."""
    if wanted == "never" or (wanted == "auto" and device.type != "cuda"):
        return False
    missing = missing_for_compiling(device)
    if missing and wanted == "always":
        raise UserError(f"compile=always: needs {missing}; accepted: auto, never")
    return missing is None


def missing_for_compiling(device: torch.device) -> str | None:
    """The first thing that is not there, in words."""
    if not any(map(shutil.which, (os.environ.get("CXX", "c++"), "g++", "clang++"))):
        return "a C++ compiler (c++, g++ or clang++)"
    if device.type != "cuda":
        return None
    # For a GPU Inductor writes Triton, which compiles a C extension of Python when it first starts a kernel.
    if importlib.util.find_spec("triton") is None:
        return "Triton (pip install triton)"
    if not any(map(shutil.which, [os.environ["CC"]] if "CC" in os.environ else ["gcc", "clang"])):
        return "a C compiler (gcc, clang or $CC)"
    scheme = sysconfig.get_default_scheme().replace("posix_local", "posix_prefix")  # as Triton looks for them
    if not (Path(sysconfig.get_paths(scheme)["include"]) / "Python.h").exists():
        return "Python's headers (Python.h: the package python3-dev)"
    return None
