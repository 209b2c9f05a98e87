"""The same numbers to Weights & Biases, which can be absent, offline or down without hurting the run."""

import json
import os
import socket
import sys
import uuid
from collections.abc import Mapping
from typing import Any, Protocol

from bn.config import Config, NoLogger, WandbLogger, to_dict
from bn.errors import UserError
from bn.records import RunDirectory

REACH_S = 3.0  # how long to look for the server before going offline


class Logger(Protocol):
    def log(self, record: Mapping[str, float], step: int) -> None: ...
    def finish(self) -> None: ...


class NullLogger:
    def log(self, record: Mapping[str, float], step: int) -> None:
        pass

    def finish(self) -> None:
        pass


class Wandb:
    """One W&B run: the same id after a resume, grouped by experiment and what differs from it."""

    def __init__(self, config: Config, choice: WandbLogger, run: RunDirectory) -> None:
        import wandb

        mode = choice.mode
        if mode == "online" and not _reachable(wandb):
            print(
                f"logger.mode=online: no answer from W&B within {REACH_S:g} s: going offline "
                f"(`wandb sync {run.name}/wandb/offline-run-*` sends the run later)",
                file=sys.stderr,
            )
            mode = "offline"
        self.run = wandb.init(
            mode=mode,
            project=choice.project,
            entity=choice.entity,
            group=choice.group or run.path.parent.name,
            name=f"{config.experiment}/{run.path.parent.name}/{run.path.name}",
            tags=[config.experiment, *choice.tags],
            id=_run_id(run),
            resume="allow" if mode == "online" else None,
            config=to_dict(config),
            dir=run.path,
            settings=wandb.Settings(
                silent=True, console="off", init_timeout=30, x_disable_stats=True, save_code=False
            ),
        )

    def log(self, record: Mapping[str, float], step: int) -> None:
        # After a resume the steps since the checkpoint come again, bit for bit; W&B drops what it has.
        self.run.log(dict(record), step=step)

    def finish(self) -> None:
        self.run.finish()


def check_logger(config: Config) -> None:
    """UserError where W&B cannot be used as asked: not installed, or online without a key."""
    choice = config.logger
    if isinstance(choice, NoLogger) or choice.mode == "disabled":
        return
    try:
        import wandb
    except ImportError:
        raise UserError('logger=wandb: wandb is not installed: pip install -e ".[wandb]"') from None
    if choice.mode == "online" and not (os.environ.get("WANDB_API_KEY") or wandb.api.api_key):
        raise UserError(
            "logger.mode=online: no W&B key: run `wandb login`, set WANDB_API_KEY, "
            "or choose logger.mode=offline"
        )


def open_logger(config: Config, run: RunDirectory) -> Logger:
    choice = config.logger
    if isinstance(choice, NoLogger) or choice.mode == "disabled":
        return NullLogger()
    return Wandb(config, choice, run)


def _run_id(run: RunDirectory) -> str:
    """Made once and kept in the run directory."""
    path = run.path / "wandb.json"
    try:
        return json.loads(path.read_text())["id"]
    except (OSError, ValueError, KeyError):
        run_id = uuid.uuid4().hex[:12]
        path.write_text(json.dumps({"id": run_id}) + "\n")
        return run_id


def _reachable(wandb: Any) -> bool:
    """Whether the W&B server takes a connection within REACH_S. Its own client would wait for minutes."""
    from urllib.parse import urlsplit

    server = urlsplit(wandb.setup().settings.base_url)
    port = server.port or (443 if server.scheme == "https" else 80)
    try:
        socket.create_connection((server.hostname, port), timeout=REACH_S).close()
    except OSError:
        return False
    return True
