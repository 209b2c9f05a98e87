"""`extend=RUN`: a longer run that is the continuation of a shorter one, which is done, to the bit.

Schedules do not depend on the length of a run, but what is recorded at its end does. So the longer run
continues from the shorter one's last checkpoint before its end, with the records up to there. The shorter run
is not changed.
"""

import json
import os
from collections.abc import Mapping
from typing import Any

from bn.config import to_dict
from bn.errors import UserError, listed
from bn.files import parse_yaml, read_record, write_whole
from bn.run.directory import ENV, REPOSITORY, RunDirectory

BY_LENGTH = "correlations"  # the observation whose steps depend on the length of the run


def extend(run: RunDirectory) -> None:
    """Give an open, new run directory what the run that `extend` names had recorded at that checkpoint.

    The checkpoint comes last: until it is there, the run has not begun.
    """
    if run.config.extend is None or any(run.checkpoints.glob("step_*")):
        return
    from bn.run.checkpoint import save_checkpoint

    other, state = shorter(run)
    if state is None:
        print(f"{run.name}: {other.name} has no checkpoint before its end: starts from step 0", flush=True)
        return
    n = state["step"]
    metrics = other.kept_metrics(n, state.get("metrics"))
    if env := read_record(other.path / "env.json", ENV):
        whose = {"run": os.path.relpath(other.path, REPOSITORY), "step": n, "command": env["command"]}
        env = {**env, "command": run.command, "extends": whose}
        write_whole(run.path / "env.json", json.dumps(env, indent=2) + "\n")
    write_whole(run.path / "metrics.jsonl", metrics)
    save_checkpoint(run.checkpoints, n, {**state, "config": to_dict(run.config)})
    print(f"{run.name}: continues {other.name} from its checkpoint of step {n:,}", flush=True)


def shorter(run: RunDirectory) -> tuple[RunDirectory, Mapping[str, Any] | None]:
    """The run that `extend` names, and its last checkpoint before its end, None where it has none.

    UserError if `run` cannot be its continuation.
    """
    from bn.run.checkpoint import list_checkpoints, load_checkpoint  # torch, which others start without

    given, config = f"extend={run.config.extend}", run.config
    if BY_LENGTH in config.observe or config.evaluate.population == "always":
        raise UserError(
            f"{given}: what observe=[{BY_LENGTH}] and evaluate.population=always record on the way depends "
            f"on the length of the run; accepted: observe without {BY_LENGTH}, and evaluate.population=end"
        )
    other = RunDirectory(REPOSITORY / str(config.extend), config)
    saved = read_record(other.path / "config.yaml", dict, parse=parse_yaml)
    if saved is None:
        raise UserError(f"{given}: holds no run; accepted: the directory of a run that is done")
    status = other.read_status()
    if status.get("state") != "done":
        at = f"{status.get('state', 'absent')} at step {status.get('step', 0):,}"
        raise UserError(f"{given}: {at}; accepted: a run that is done")
    if different := other.differences({**saved, "steps": config.steps, "steps_factor": config.steps_factor}):
        raise UserError(f"{given}: {listed(different)}; accepted: a run that differs in steps only")
    end = status["step"]
    if end >= config.length:
        raise UserError(
            f"{given}: has {end:,} steps, and this run {config.length:,}; accepted: a run with fewer steps"
        )
    try:
        states = (load_checkpoint(path) for path in reversed(list_checkpoints(other.checkpoints)))
        state = next((state for state in states if state["step"] < end), None)
        if state is not None:
            other.kept_metrics(state["step"], state.get("metrics"))
    except UserError as error:
        raise UserError(f"{given}: {error}") from error
    return other, state
