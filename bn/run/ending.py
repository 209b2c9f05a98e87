"""The last lines that a run prints: the result, how long it took, and what to type next."""

import os
import shlex

from bn.config import ImageData
from bn.run.commands import command
from bn.run.directory import ENDED, RunDirectory, read_lines
from bn.run.telling import LOSS, duration

OVERFITTED = 0.05  # nats: each example has a probability of 95% or so


def last_lines(run: RunDirectory, state: str, line: str, took_s: float | None = None) -> list[str]:
    """Of a run that ended in `state`, of which `line` says what there is to say; after `took_s` seconds."""
    lines = [line if took_s is None or state not in ENDED else f"{line}; after {duration(took_s)}"]
    if run.config.overfit and state in ENDED:
        lines.append(_overfit(run))
    if state in ENDED:
        lines.append(f"next: {next_command(run)}")
    offline = sorted((run.path / "wandb").glob("offline-run-*"))
    if offline and took_s is not None:
        sync = f"wandb sync {shlex.quote(run.name)}/wandb/offline-run-*"
        lines.append(f"W&B: {os.path.relpath(offline[-1])}: {sync}")
    return [f"train.py: {each}" for each in lines]


def _overfit(run: RunDirectory) -> str:
    """Whether the one mini-batch was learned."""
    losses = [row[LOSS] for row in read_lines(run.path / "metrics.jsonl") if LOSS in row]
    told = f"loss {losses[-1]:.3g} on the single mini-batch" if losses else "no loss was logged"
    if losses and losses[-1] < OVERFITTED:
        return f"overfit: {told}: the network has learned it"
    advice = "train longer (steps=...), or look for a mistake in the network"
    return f"overfit: {told}, not below {OVERFITTED}: {advice}"


def next_command(run: RunDirectory) -> str:
    """What makes most sense once the run has ended."""
    if isinstance(run.config.data, ImageData) and run.status.get("state") == "done":
        return command("evaluate.py", f"checkpoint={run.name}", "statistics=population", "crops=144")
    return command("scripts/runs.py", "show", run.name)
