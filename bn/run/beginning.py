"""Where a run begins, if not at the initial weights of its seed: at another's weights, or at a shorter run.

`start=RUN_OR_CHECKPOINT` takes the weights alone: it is another run, which begins at step 0. `extend=RUN`
takes everything: schedules do not depend on the length of a run, so that a longer run is a shorter one's
continuation, to the bit. The shorter run is not changed.
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
from bn.files import parse_yaml, read_record, write_atomically
from bn.run.directory import ENV, REPOSITORY, RunDirectory, is_compared, read_lines

LENGTH = ("steps", "steps_factor")
BY_LENGTH = ("shift", "gradient_shift", "correlations")  # observations whose steps follow from the length
# When the numbers of a row are logged, by how they begin; all others of `observe` follow `probe.at`.
WITH_LOSSES = ("train/", "observe/gradient_norm/", "observe/weight_norm/")
WITH_EVALUATIONS = ("test/", "validation/", "observe/training_accuracy")


def check_beginning(run: RunDirectory) -> None:
    """UserError if a run cannot begin as it is asked to, or has begun otherwise. Nothing is written."""
    if run.config.start is None and run.config.extend is None:
        return
    if run.finished or _has_checkpoint(run):
        if run.config.extend is not None:
            _check_extends(run, run.config.extend)
    elif run.config.extend is not None:
        _shorter(run)
    else:
        load_start(run.config)


def _has_checkpoint(run: RunDirectory) -> bool:
    from bn.run.checkpoint import list_checkpoints  # torch, which others start without

    return bool(list_checkpoints(run.checkpoints))


def _check_extends(run: RunDirectory, given: str) -> None:
    """UserError if a run that is there already is not the continuation of the `given` one."""
    extends = (read_record(run.path / "env.json", ENV) or {}).get("extends")
    if extends and (REPOSITORY / extends["run"]).resolve() == (REPOSITORY / given).resolve():
        return
    began = f"extends {extends['run']}" if extends else "began at step 0"
    raise UserError(
        f"extend={given}: {run.name} is there already, and {began}; accepted: the same command without extend"
    )


def load_start(config: Config) -> dict[str, Any]:
    """The checkpoint that `start` names, with its "path". UserError if its network does not fit this one."""
    from bn.models.build import build_model

    path = _checkpoint_of("start", str(config.start))
    state = _read("start", str(config.start), path)
    ours = {name: tuple(tensor.shape) for name, tensor in build_model(config).state_dict().items()}
    try:
        theirs = {name: tuple(tensor.shape) for name, tensor in state["model"].items()}
    except (AttributeError, KeyError, TypeError):
        raise UserError(f"start={config.start}: holds no network") from None
    for name in (*ours, *theirs):
        if ours.get(name) != theirs.get(name):
            there, here = (found.get(name, "missing") for found in (theirs, ours))
            raise UserError(
                f"start={config.start}: holds another network: {name} is {there} there and {here} here; "
                "accepted: a network with the same layers"
            )
    return {**state, "path": path}


def origin(state: Mapping[str, Any]) -> dict[str, Any]:
    """For env.json: the checkpoint that a run's weights come from."""
    path = state["path"]
    return {
        "checkpoint": str(path),
        "step": state["step"],
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "experiment": state["config"].get("experiment"),
    }


def extend(run: RunDirectory) -> None:
    """Give an open, new run directory what the run that `extend` names has recorded, as if it were its own.

    The checkpoint comes last: until it is there, the run has not begun.
    """
    if run.config.extend is None or _has_checkpoint(run):
        return
    from bn.run.checkpoint import save_checkpoint

    other, state = _shorter(run)
    n = state["step"]
    rows = read_lines(other.path / "metrics.jsonl")
    if rows and rows[-1]["step"] == n:
        rows[-1] = _as_on_the_way(rows[-1], run.config)
    if n not in run.config.probe.at.steps(run.config.length):
        _forget(state.get("observations", {}), n)
    text = "".join(json.dumps(row) + "\n" for row in rows if row.keys() - {"step", "wall_s"})
    env = read_record(other.path / "env.json", ENV)
    if env:
        whose = {"run": os.path.relpath(other.path, REPOSITORY), "steps": n, "command": env["command"]}
        known = {**env, "command": run.command, "extends": whose}
        write_atomically(run.path / "env.json", json.dumps(known, indent=2) + "\n")
    write_atomically(run.path / "metrics.jsonl", text)
    content = text.encode()
    state["config"] = to_dict(run.config)
    state["metrics"] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    state["losses"]["count"] = n % run.config.log_every  # at its end they were logged, whatever their number
    save_checkpoint(run.checkpoints, n, state)
    print(f"{run.name}: continues {other.name} from step {n:,}; that run is not changed", flush=True)


def _as_on_the_way(row: Mapping[str, Any], config: Config) -> dict[str, Any]:
    """The last row of a shorter run, with what a longer one logs of that step."""
    n = row["step"]
    logged, evaluated = n % config.log_every == 0, n in config.evaluate.at.steps(config.length)
    observed = n in config.probe.at.steps(config.length)

    def has(name: str) -> bool:
        if name.startswith(WITH_LOSSES):
            return logged
        if name.startswith(WITH_EVALUATIONS):
            return evaluated and not name.endswith("_population")
        return observed or not name.startswith("observe/")

    return {name: value for name, value in row.items() if has(name)}


def _forget(observations: dict[str, Any], step: int) -> None:
    """Remove the percentiles of `step`: a shorter run looked at its end, and the longer one does not."""
    if seen := observations.get("percentiles"):
        others = seen["steps"] != step
        observations["percentiles"] = {name: values[others] for name, values in seen.items()}


def _shorter(run: RunDirectory) -> tuple[RunDirectory, dict[str, Any]]:
    """The run that `extend` names and its last checkpoint. UserError if `run` is not its continuation."""
    given = str(run.config.extend)
    _check_records_alike(run.config)
    path = REPOSITORY / given
    saved = read_record(path / "config.yaml", dict, parse=parse_yaml)
    if saved is None:
        raise UserError(f"extend={given}: holds no run; accepted: the directory of a run that is done")
    if path.resolve() == run.path.resolve():
        raise UserError(f"extend={given}: is this run itself; accepted: a shorter run")
    other = RunDirectory(path, run.config)
    status = other.read_status()
    if status.get("state") != "done":
        state = status.get("state", "absent")
        at = f"{state} at step {status.get('step', 0):,}"
        raise UserError(f"extend={given}: {at}; accepted: a run that is done")
    different = [
        f"{key} (there {typed(there)}, here {typed(here)})"
        for key, (there, here) in changes(saved, run.config).items()
        if is_compared(key, run.config) and key not in LENGTH
    ]
    if different:
        raise UserError(f"extend={given}: {listed(different)}; accepted: a run that differs in steps only")
    other.check_records()
    state = _read("extend", given, _checkpoint_of("extend", given))
    if state["step"] != status["step"]:
        raise UserError(f"extend={given}: its last checkpoint is of step {state['step']:,}, not of its end")
    if state["step"] >= run.config.length:
        raise UserError(
            f"extend={given}: has {state['step']:,} steps, and this run {run.config.length:,}; "
            "accepted: a run with fewer steps"
        )
    return other, state


def _check_records_alike(config: Config) -> None:
    """UserError for records that a longer run has at other steps; the training is the same."""
    also = [name for name in BY_LENGTH if name in config.observe]
    if config.evaluate.population == "always" or also:
        given = f"observe=[{also[0]}]" if also else "evaluate.population=always"
        raise UserError(
            f"extend={config.extend}: what {given} records depends on the length of the run; accepted: "
            f"evaluate.population=end and observe without {', '.join(BY_LENGTH)}"
        )


def _checkpoint_of(key: str, given: str) -> Path:
    """A checkpoint, or the last one of a run directory."""
    from bn.run.checkpoint import list_checkpoints

    path = REPOSITORY / given
    if not path.exists():
        raise UserError(f"{key}={given}: no such file or folder; accepted: a run directory or a checkpoint")
    if not path.is_dir():
        return path
    found = list_checkpoints(path / "checkpoints")
    if not found:
        raise UserError(f"{key}={given}: has no checkpoint; accepted: a run directory or a checkpoint")
    return found[-1]


def _read(key: str, given: str, path: Path) -> dict[str, Any]:
    from bn.run.checkpoint import load_checkpoint

    try:
        state = load_checkpoint(path)
    except UserError as error:
        raise UserError(f"{key}={given}: {error}") from error
    if not isinstance(state.get("config"), dict):
        raise UserError(f"{key}={given}: {path}: has no config: not a checkpoint that train.py wrote")
    return state
