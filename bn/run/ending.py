"""The last lines that a run prints: the result, how long it took, and what to type next."""

import os
import shlex

from bn.config import ImageData
from bn.run.directory import ENDED, RunDirectory
from bn.run.telling import duration


def last_lines(run: RunDirectory, state: str, line: str, took_s: float | None = None) -> list[str]:
    """Of a run that ended in `state`, of which `line` says what there is to say; after `took_s` seconds."""
    lines = [line if took_s is None or state not in ENDED else f"{line}; after {duration(took_s)}"]
    if state in ENDED:
        lines.append(f"next: {next_command(run)}")
    offline = sorted((run.path / "wandb").glob("offline-run-*"))
    if offline and took_s is not None:
        lines.append(f"W&B: {os.path.relpath(offline[-1])}: wandb sync {run.name}/wandb/offline-run-*")
    return [f"train.py: {each}" for each in lines]


def next_command(run: RunDirectory) -> str:
    """What makes most sense once the run has ended."""
    if isinstance(run.config.data, ImageData) and run.status.get("state") == "done":
        return f"python evaluate.py checkpoint={shlex.quote(run.name)} statistics=population crops=144"
    return "python scripts/runs.py"
