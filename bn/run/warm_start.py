"""Runs that start from another run instead of the initial weights of their seed.

`start=RUN_OR_CHECKPOINT` loads the weights only, for a new run that begins at step 0. `extend=RUN` continues
a shorter run: since schedules do not depend on the length of a run, the result is bit-exact, as if the
longer run had been trained from the start. The shorter run is not changed.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bn.config import Config, changes, to_dict
from bn.config.notation import typed
from bn.errors import UserError, listed
from bn.files import REPOSITORY, parse_yaml, read_record, write_atomically
from bn.run.directory import ENV, RunDirectory, digest_of, is_compared, read_lines

LENGTH = ("steps", "steps_factor")
BY_LENGTH = ("shift", "gradient_shift", "correlations")  # observations whose steps depend on the length
# Prefixes of metrics logged with the loss and by an evaluation; others under `observe/` follow `probe.at`.
WITH_LOSSES = ("train/", "observe/gradient_norm/", "observe/weight_norm/")
WITH_EVALUATIONS = ("test/", "validation/", "observe/training_accuracy")


def check_warm_start(run: RunDirectory) -> None:
    """Raise UserError if `start` or `extend` is not possible for this run. Nothing is written."""
    if run.config.start is None and run.config.extend is None:
        return
    if run.finished or _has_checkpoint(run):
        if run.config.extend is not None:
            _check_extends(run, run.config.extend)
    elif run.config.extend is not None:
        _load_shorter(run)
    else:
        load_start(run.config)


def _has_checkpoint(run: RunDirectory) -> bool:
    from bn.run.checkpoint import list_checkpoints  # imports torch

    return bool(list_checkpoints(run.checkpoints))


def _check_extends(run: RunDirectory, given: str) -> None:
    """Raise UserError if a run that already exists is not the continuation of the `given` one."""
    extends = (read_record(run.path / "env.json", ENV) or {}).get("extends")
    if extends and (REPOSITORY / extends["run"]).resolve() == (REPOSITORY / given).resolve():
        return
    began = f"extends {extends['run']}" if extends else "began at step 0"
    raise UserError(
        f"extend={given}: {run.name} already exists and {began}; accepted: the same command without extend"
    )


def load_start(config: Config) -> dict[str, Any]:
    """Load the checkpoint that `start` names, and add its "path". Raises UserError if its network differs."""
    from bn.models.build import build_model

    state, path = _read_checkpoint("start", str(config.start))
    ours = {name: tuple(tensor.shape) for name, tensor in build_model(config).state_dict().items()}
    try:
        theirs = {name: tuple(tensor.shape) for name, tensor in state["model"].items()}
    except (AttributeError, KeyError, TypeError):
        raise UserError(f"start={config.start}: contains no network") from None
    for name in (*ours, *theirs):
        if ours.get(name) != theirs.get(name):
            there, here = (found.get(name, "missing") for found in (theirs, ours))
            raise UserError(
                f"start={config.start}: contains another network: {name} is {there} there and {here} here; "
                "accepted: a network with the same layers"
            )
    return {**state, "path": path}


def origin(state: Mapping[str, Any]) -> dict[str, Any]:
    """Describe, for env.json, the checkpoint that a run's weights come from."""
    path = state["path"]
    return {
        "checkpoint": str(path),
        "step": state["step"],
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "experiment": state["config"].get("experiment"),
    }


def extend_run(run: RunDirectory) -> None:
    """Copy the records of the run that `extend` names to a new, open run directory.

    The checkpoint is written last: until it exists, the run has not begun.
    """
    if run.config.extend is None or _has_checkpoint(run):
        return
    from bn.run.checkpoint import save_checkpoint

    other, state = _load_shorter(run)
    n = state["step"]
    rows = read_lines(other.path / "metrics.jsonl")
    if rows and rows[-1]["step"] == n:
        rows[-1] = _as_intermediate(rows[-1], run.config)
    if n not in run.config.probe.at.steps(run.config.length):
        _remove_percentiles(state.get("observations", {}), n)
    text = "".join(json.dumps(row) + "\n" for row in rows if row.keys() - {"step", "wall_s"})
    env = read_record(other.path / "env.json", ENV)
    if env:
        extends = {"run": os.path.relpath(other.path, REPOSITORY), "steps": n, "command": env["command"]}
        env = {**env, "command": run.command, "extends": extends}
        write_atomically(run.path / "env.json", json.dumps(env, indent=2) + "\n")
    write_atomically(run.path / "metrics.jsonl", text)
    state["config"] = to_dict(run.config)
    state["metrics"] = digest_of(run.path / "metrics.jsonl")
    state["losses"]["count"] = n % run.config.log_every  # the last step logs whatever is in the window
    save_checkpoint(run.checkpoints, n, state)
    print(f"{run.name}: continues {other.name} from step {n:,}; that run is not changed", flush=True)


def _as_intermediate(row: Mapping[str, Any], config: Config) -> dict[str, Any]:
    """Reduce the last row of a shorter run to what a longer one logs at that step."""
    n = row["step"]
    logged, evaluated = n % config.log_every == 0, n in config.evaluate.at.steps(config.length)
    observed = n in config.probe.at.steps(config.length)

    def is_logged(name: str) -> bool:
        if name.startswith(WITH_LOSSES):
            return logged
        if name.startswith(WITH_EVALUATIONS):
            return evaluated and not name.endswith("_population")
        return observed or not name.startswith("observe/")

    return {name: value for name, value in row.items() if is_logged(name)}


def _remove_percentiles(observations: dict[str, Any], step: int) -> None:
    """Remove the percentiles of the shorter run's last `step`, at which the longer run observes none."""
    if seen := observations.get("percentiles"):
        others = seen["steps"] != step
        observations["percentiles"] = {name: values[others] for name, values in seen.items()}


def _load_shorter(run: RunDirectory) -> tuple[RunDirectory, dict[str, Any]]:
    """Return the run that `extend` names and its last checkpoint.

    Raises UserError if `run` is not a continuation of it.
    """
    given = str(run.config.extend)
    _check_records_independent_of_length(run.config)
    path = REPOSITORY / given
    saved = read_record(path / "config.yaml", dict, parse=parse_yaml)
    if saved is None:
        raise UserError(f"extend={given}: contains no run; accepted: the directory of a run that is done")
    if path.resolve() == run.path.resolve():
        raise UserError(f"extend={given}: is this run itself; accepted: a shorter run")
    other = RunDirectory(path, run.config)
    status = other.read_status()
    if status.get("state") != "done":
        state = status.get("state", "absent")
        raise UserError(
            f"extend={given}: {state} at step {status.get('step', 0):,}; accepted: a run that is done"
        )
    different = [
        f"{key} (there {typed(there)}, here {typed(here)})"
        for key, (there, here) in changes(saved, run.config).items()
        if is_compared(key, run.config) and key not in LENGTH
    ]
    if different:
        raise UserError(f"extend={given}: {listed(different)}; accepted: a run that differs in steps only")
    other.check_records()
    state, _ = _read_checkpoint("extend", given)
    if state["step"] != status["step"]:
        ended = f"ended at step {status['step']:,}"
        last = f"its last checkpoint is of step {state['step']:,}"
        raise UserError(f"extend={given}: {ended}, but {last}; without extend this run begins at step 0")
    if state["step"] >= run.config.length:
        raise UserError(
            f"extend={given}: has {state['step']:,} steps, and this run {run.config.length:,}; "
            "accepted: a run with fewer steps"
        )
    return other, state


def _check_records_independent_of_length(config: Config) -> None:
    """Raise UserError if something is recorded at steps that depend on the length of the run."""
    also = [name for name in BY_LENGTH if name in config.observe]
    if config.evaluate.population == "always" or also:
        given = f"observe=[{also[0]}]" if also else "evaluate.population=always"
        raise UserError(
            f"extend={config.extend}: the records of {given} depend on the length of the run; accepted: "
            f"evaluate.population=end and observe without {', '.join(BY_LENGTH)}"
        )


def _read_checkpoint(key: str, given: str) -> tuple[dict[str, Any], Path]:
    """Load a checkpoint, or the last one of a run directory, and return it with its path."""
    from bn.run.checkpoint import list_checkpoints, load_checkpoint

    path = REPOSITORY / given
    if not path.exists():
        raise UserError(f"{key}={given}: no such file or folder; accepted: a run directory or a checkpoint")
    if path.is_dir():
        found = list_checkpoints(path / "checkpoints")
        if not found:
            raise UserError(f"{key}={given}: has no checkpoint; accepted: a run directory or a checkpoint")
        path = found[-1]
    try:
        state = load_checkpoint(path)
    except UserError as error:
        raise UserError(f"{key}={given}: {error}") from error
    if not isinstance(state.get("config"), dict):
        raise UserError(f"{key}={given}: {path}: has no config: not a checkpoint that train.py wrote")
    return state, path
