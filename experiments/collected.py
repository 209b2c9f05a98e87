"""Run directories to compact records, and records to numbers.

A folder of results/ holds CSV files and `runs.json`, which traces every number to its run: command, commit,
versions, device, duration and resolved config.
"""

import csv
import io
import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bn.compare.intervals import crossing as crossing
from bn.compare.intervals import mean_and_interval as mean_and_interval
from bn.compare.intervals import mean_text as mean_text
from bn.config import Config, changes, flatten, to_dict
from bn.errors import UserError
from bn.files import TEXT_OR_NONE, Damaged, Shape, read_record, write_atomically
from bn.run.directory import ENDED, ENV, RunDirectory, is_compared, read_lines

# The shape of a runs.json (bn/files.py).
RUNS = {
    "config": dict,
    "runs": [{
        "command": str, "state": str, "step": int, "commit": TEXT_OR_NONE, "torch": str,
        "device": {"name": str}, "config": dict,
    }],
}  # fmt: skip
NUMERICS = ("precision", "compile", "channels_last")  # of the config; device type and torch are in env.json


def ended(
    runs: Sequence[RunDirectory], needed: Sequence[str] = (), interrupted: bool = False
) -> list[RunDirectory]:
    """The `runs` that have ended: a figure draws these without waiting for the others.

    `interrupted` includes runs that were stopped early, up to where they got.

    UserError if no run of an experiment in `needed` has ended, or none at all; if a directory holds a run of
    another config, or a record that is damaged or lacks evaluations; or if the numerics of two runs differ.
    """
    states = (*ENDED, "interrupted") if interrupted else ENDED
    found = [run for run in runs if run.read_status().get("state") in states]
    check_needed(runs, found, needed)
    check(found)
    return found


def check_needed(
    runs: Sequence[RunDirectory], found: Sequence[RunDirectory], needed: Sequence[str] = ()
) -> None:
    """UserError if `found` has no run of an experiment in `needed`, or none of `runs` at all."""
    for experiment in needed or sorted({run.config.experiment for run in runs if not found}):
        if not any(run.config.experiment == experiment for run in found):
            own = sum(run.config.experiment == experiment for run in runs)
            raise UserError(f"{experiment}: none of its {own} runs has ended")


def check(runs: Sequence[RunDirectory]) -> None:
    """UserError if a directory holds a run of another config, lacks evaluations, or the numerics differ."""
    for run in runs:
        run.check_config()
        _check_evaluations(run)
        run.check_records()
    check_numerics([(run.name, part) for run in runs for part in _numerics(run)])


def check_all_ended(runs: Sequence[RunDirectory]) -> None:
    """UserError for the first run that has not ended."""
    for run in runs:
        if not run.finished:
            state = run.status.get("state", "absent")
            raise UserError(f"{run.name}: {state}, not finished: run the same command again")


def _check_evaluations(run: RunDirectory) -> None:
    """UserError unless metrics.jsonl has all evaluations that the config requires up to the run's end."""
    config, status = run.config, run.status
    wanted = config.evaluate.at.steps(config.length)
    if status["state"] != "done":  # a run that diverged did not evaluate its last step
        wanted = {step for step in wanted if step < status["step"]}
    lines = read_lines(run.path / "metrics.jsonl")
    missing = wanted - {line["step"] for line in lines if any(key.endswith("/accuracy") for key in line)}
    if missing:
        raise UserError(
            f"{run.name}/metrics.jsonl: {len(missing)} of {len(wanted)} evaluations are missing, "
            f"the first at step {min(missing):,}: a figure needs them all"
        )


def check_numerics(parts: Sequence[tuple[str, Mapping[str, Any]]]) -> None:
    """UserError naming two runs, or two starts of one run, with different numerics."""
    for name, part in parts[1:]:
        first, wanted = parts[0]
        for key, value in part.items():
            if value != wanted[key]:
                raise UserError(
                    f"{first} and {name}: {key} is {wanted[key]} and {value}: "
                    "accepted: runs with the same numerics"
                )


def _numerics(run: RunDirectory) -> list[dict[str, Any]]:
    """The numerics (device, torch, precision) of each start of a run."""
    env = _environment(run)
    config = flatten(to_dict(run.config))
    chosen = {key: config[key] for key in NUMERICS}
    return [
        {"device": start["device"]["type"], "torch": start["torch"], **chosen}
        for start in (env, *env["resumed"])
    ]


def _environment(run: RunDirectory) -> dict[str, Any]:
    path = run.path / "env.json"
    env = read_record(path, ENV)
    if env is None:
        raise UserError(f"{run.name}/env.json: missing: restore it")
    return env


def observed(run: RunDirectory) -> dict[str, np.ndarray]:
    """The arrays of activations.npz: steps (T,), and (T, percentiles, units) for each layer.

    Raises Damaged if the file is, or if a layer or step that the config requires is missing.
    """
    try:
        with np.load(run.activations) as file:
            found = dict(file)
    except FileNotFoundError:
        raise UserError(f"{os.path.relpath(run.activations)}: missing: restore it") from None
    except Exception as error:  # numpy raises many kinds of errors for files of another kind
        raise Damaged(run.activations, "not an npz file") from error
    end = run.status["step"] if run.status["state"] == "done" else 0
    wanted = {step for step in run.config.probe.at.steps(run.config.length) if step <= end}
    steps = found.get("steps", np.empty(0))
    if lacking := wanted - set(steps.ravel().tolist()):
        raise Damaged(run.activations, f"nothing is recorded of step {min(lacking):,}")
    for name, array in found.items():
        if name != "percentiles" and array.shape[:1] != steps.shape[:1]:
            raise Damaged(run.activations, f"{name} does not have one entry per step")
    return found


def ratio_and_interval(ratios: Sequence[float]) -> tuple[float, float, float]:
    """The geometric mean of ratios and its 95% confidence interval: Student's t on their logarithms."""
    mean, half = mean_and_interval([math.log(ratio) for ratio in ratios])
    return math.exp(mean), math.exp(mean - half), math.exp(mean + half)


def summary(values: Sequence[float], apart: float, digits: int = 2, sign: str = "") -> str:
    """`mean_text` of the seeds' values, or a list of them if they lie more than `apart` apart: then a mean
    describes none of them."""
    if max(values) - min(values) > apart:
        return ", ".join(f"{value:{sign},.{digits}f}" for value in values)
    return mean_text(values, digits, sign)


def ratio_text(ratios: Sequence[float]) -> str:
    """2.31 (1.90 to 2.80); a single ratio has no interval."""

    def shown(value: float) -> str:
        if value < 0.005 or value >= 1000:  # an interval of few seeds can reach this far
            return "< 0.01" if value < 1 else "> 1,000"
        return f"{value:,.{0 if value >= 100 else 1 if value >= 10 else 2}f}"

    mean, low, high = ratio_and_interval(ratios)
    return shown(mean) + (f" ({shown(low)} to {shown(high)})" if len(ratios) > 1 else "")


def seeds_text(counts: Iterable[int]) -> str:
    """n = 5 seeds; n = 3 to 5 seeds."""
    fewest, most = min(counts := list(counts)), max(counts)
    return f"n = {most if fewest == most else f'{fewest} to {most}'} seed{'s' * (most > 1)}"


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    write_atomically(path, text.getvalue())


def read_csv(path: Path) -> list[dict[str, str]]:
    """Read a committed CSV; every row has all columns of the header."""
    try:
        with path.open(newline="") as file:
            rows = list(csv.DictReader(file))
    except FileNotFoundError:
        raise _missing(path) from None
    except (OSError, ValueError, csv.Error) as error:
        raise Damaged(path, "not CSV", _again(path)) from error
    for number, row in enumerate(rows, start=2):
        if None in row or None in row.values():
            raise Damaged(path, f"row {number} does not have the columns of the header", _again(path))
    return rows


def read_json(path: Path, shape: Shape = RUNS) -> Any:
    """Read a committed JSON record, by default a runs.json."""
    document = read_record(path, shape, _again(path))
    if document is None:
        raise _missing(path)
    return document


def _again(path: Path) -> str:
    return f"restore it, or python scripts/reproduce.py {path.parent.name} --collect"


def _missing(path: Path) -> UserError:
    return UserError(f"{path}: missing: python scripts/reproduce.py {path.parent.name}")


def write_provenance(path: Path, runs: Sequence[RunDirectory]) -> None:
    """Write runs.json for ended runs."""
    write_entries(path, [provenance(run) for run in runs])


def write_entries(path: Path, entries: Sequence[Mapping[str, Any]]) -> None:
    """Write runs.json from the runs' `provenance`: shared config keys once, and each run's own."""
    configs = [entry["config"] for entry in entries]
    shared = {
        key: value for key, value in configs[0].items() if all(config.get(key) == value for config in configs)
    }
    own = [
        {**entry, "config": {key: value for key, value in entry["config"].items() if key not in shared}}
        for entry in entries
    ]
    write_atomically(path, json.dumps({"config": shared, "runs": own}, indent=1) + "\n")


def read_entries(path: Path) -> list[dict[str, Any]]:
    """Read the entries of `write_entries`; [] if the file does not exist."""
    if not path.exists():
        return []
    document = read_json(path)
    return [{**entry, "config": {**document["config"], **entry["config"]}} for entry in document["runs"]]


def is_of(entry: Mapping[str, Any], config: Config) -> bool:
    """Whether a `provenance` entry belongs to a run of this config."""
    return not any(is_compared(key, config) for key in changes(entry["config"], config))


def numerics_of(entry: Mapping[str, Any]) -> dict[str, Any]:
    """The numerics (device, torch, precision) in a run's `provenance`."""
    chosen = {key: entry["config"][key] for key in NUMERICS}
    return {"device": entry["device"]["type"], "torch": entry["torch"], **chosen}


def document(lines: Sequence[str], *below: str | Sequence[str]) -> str:
    """A Markdown table, and below it paragraphs (each a string) and lists (each a sequence of items)."""
    parts = [part if isinstance(part, str) else "\n".join(f"- {item}" for item in part) for part in below]
    return "\n\n".join(("\n".join(lines), *filter(None, parts))) + "\n"


def means(seeds: str) -> str:
    """What ± means below a table. `seeds`: for example, `seeds_text`."""
    return f"Each number is the mean over {seeds} ± the half-width of its 95% confidence interval."


RATIOS = (
    "A ratio is computed for each seed: the table has its geometric mean and, in parentheses, the 95% "
    "confidence interval (Student's t on the logarithms)."
)


def origin(document: Mapping[str, Any], subject: str = "The numbers") -> str:
    """A sentence with the number, devices, torch versions and commits of the runs in a runs.json."""
    runs = document["runs"]

    def all_of(values: Iterable[str]) -> str:
        *first, last = sorted(set(values))
        return f"{', '.join(first)} and {last}" if first else last

    def device_of(run: Mapping[str, Any]) -> str:
        name, _, cores = run["device"]["name"].partition(", ")
        return f"{name} ({cores})" if cores else name

    commits = {(run["commit"] or "unknown")[:7] for run in runs}
    return (
        f"{subject} come from {len(runs)} run{'s' * (len(runs) > 1)} on {all_of(map(device_of, runs))}, "
        f"with torch {all_of(run['torch'] for run in runs)}, "
        f"at commit{'s' * (len(commits) > 1)} {all_of(commits)}."
    )


def origin_in(folder: Path) -> str:
    """`origin` of the runs of all runs.json in a folder; "" if it has none."""
    entries = [entry for path in sorted(folder.glob("*runs.json")) for entry in read_entries(path)]
    return origin({"runs": entries}) if entries else ""


def provenance(run: RunDirectory) -> dict[str, Any]:
    """A run's command, state, commit, config, versions and device."""
    env = _environment(run)
    status = run.status
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
