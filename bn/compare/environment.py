"""The code and machine of a run, read from env.json."""

from pathlib import Path
from typing import Any

from bn.config import flatten
from bn.files import read_record
from bn.run.code_state import short
from bn.run.directory import ENV

FACTS = ("commit", "python", "torch", "numpy", "platform", "host", "processor", "device", "command", "time")


def starts_of(path: Path) -> list[dict[str, Any]]:
    """The environment of the first start of a run and of each resumption, with its `step`.

    [] without env.json; raises Damaged if it is invalid.
    """
    env = read_record(path / "env.json", ENV)
    return [_describe(start) for start in (env, *env["resumed"])] if env else []


def _describe(start: dict[str, Any]) -> dict[str, Any]:
    found = {key: start[key] for key in FACTS if start.get(key) is not None}
    found["commit"] = short(start["commit"]) + " with changes" * bool(start["dirty"])
    device = flatten(start["device"])
    counts = [f"{device[key]} {key}" for key in ("threads", "processes") if device.get(key, 1) != 1]
    found["device"] = ", ".join([device["type"], *[device["name"]] * (device["type"] != "cpu"), *counts])
    for key, where in (("start", "checkpoint"), ("extends", "run")):
        if isinstance(start.get(key), dict):
            found[key] = str(start[key].get(where))
    return {**found, "step": start.get("step") or 0}
