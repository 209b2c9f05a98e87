"""From run directories to compact records, and back from the records to numbers.

A folder of results/ holds CSV files and `runs.json`, which traces every number to its run: command, commit,
versions, device, time taken and the resolved config.
"""

import csv
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bn.config import flatten, to_dict
from bn.errors import UserError
from bn.records import ENDED, RunDirectory, read_lines

# 97.5% quantiles of Student's t for 1, 2, ... 30 degrees of freedom; the last serves for more.
T_QUANTILE = (
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228,
    2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086,
    2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
)  # fmt: skip


def mean_and_interval(values: Sequence[float]) -> tuple[float, float]:
    """The mean and the half-width of its 95% confidence interval (Student's t; nan for one value)."""
    n = len(values)
    mean = sum(values) / n
    if n == 1:
        return mean, float("nan")
    variance = sum((value - mean) ** 2 for value in values) / (n - 1)
    return mean, T_QUANTILE[min(n - 1, 30) - 1] * (variance / n) ** 0.5


def crossing(steps: np.ndarray, path: np.ndarray, level: float) -> float:
    """The step at which `path` first reaches `level`, on the line between the evaluations around it.

    `steps` and `path` are (T,); some of `path` is at least `level`.
    """
    i = int((path >= level).argmax())
    if i == 0:
        return float(steps[0])
    share = (level - path[i - 1]) / (path[i] - path[i - 1])
    return float(steps[i - 1] + share * (steps[i] - steps[i - 1]))


def metrics(run: RunDirectory) -> list[dict[str, Any]]:
    """The lines of an ended run's metrics.jsonl. UserError if it has not ended."""
    if not run.finished:
        state = run.status.get("state", "absent")
        raise UserError(f"{run.name}: {state}, not finished: run the same command again")
    return read_lines(run.path / "metrics.jsonl")


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def read_csv(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(newline="") as file:
            return list(csv.DictReader(file))
    except FileNotFoundError:
        raise _missing(path) from None


def read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        raise _missing(path) from None


def _missing(path: Path) -> UserError:
    return UserError(f"{path}: missing: python scripts/reproduce.py {path.parent.name}")


def write_provenance(path: Path, runs: Sequence[RunDirectory]) -> None:
    """runs.json: what all runs share once, and of each run what is its own."""
    entries = [_provenance(run) for run in runs]
    configs = [entry["config"] for entry in entries]
    shared = {
        key: value for key, value in configs[0].items() if all(config[key] == value for config in configs)
    }
    for entry in entries:
        entry["config"] = {key: value for key, value in entry["config"].items() if key not in shared}
    path.write_text(json.dumps({"config": shared, "runs": entries}, indent=1) + "\n")


def _provenance(run: RunDirectory) -> dict[str, Any]:
    env = json.loads((run.path / "env.json").read_text())
    status = run.status
    assert status["state"] in ENDED
    config = flatten(to_dict(run.config))
    del config["output"]
    lines = read_lines(run.path / "metrics.jsonl")
    return {
        "command": env["command"],
        "state": status["state"],
        "reason": status["reason"],
        "step": status["step"],
        "wall_s": lines[-1]["wall_s"] if lines else None,
        **{key: env[key] for key in ("commit", "dirty", "time", "processor", "platform", "python", "torch")},
        "device": env["device"],
        "resumed": len(env["resumed"]),
        "config": config,
    }
