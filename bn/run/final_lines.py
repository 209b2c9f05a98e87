"""The final lines of a run: its result, how long it took, and the next command."""

import os
import shlex

from bn.config import ImageData
from bn.run.commands import command
from bn.run.directory import ENDED, RunDirectory, read_lines
from bn.run.formatting import LOSS, format_duration

OVERFITTED = 0.05  # nats: a probability of about 95% for the correct class


def final_lines(run: RunDirectory, state: str, line: str, took_s: float | None = None) -> list[str]:
    """`line`, the outcome of a run that ended in `state` after `took_s` seconds, and what follows from it."""
    lines = [line if took_s is None or state not in ENDED else f"{line}; after {format_duration(took_s)}"]
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
    """The result of debug=overfit: whether the network learned its single mini-batch."""
    losses = [row[LOSS] for row in read_lines(run.path / "metrics.jsonl") if LOSS in row]
    result = f"loss {losses[-1]:.3g} on the single mini-batch" if losses else "no loss was logged"
    if losses and losses[-1] < OVERFITTED:
        return f"overfit: {result}: the network has learned it"
    advice = "train longer (steps=...), or look for a mistake in the network"
    return f"overfit: {result}, not below {OVERFITTED}: {advice}"


def next_command(run: RunDirectory) -> str:
    """The command to suggest once the run has ended."""
    if isinstance(run.config.data, ImageData) and run.status.get("state") == "done":
        return command("evaluate.py", f"checkpoint={run.name}", "statistics=population", "crops=144")
    return command("scripts/runs.py", "show", run.name)
