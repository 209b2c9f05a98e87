"""Weights & Biases, which may be missing, offline or down."""

import contextlib
import hashlib
import json
import netrc
import os
import shlex
import socket
import sys
import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import SplitResult, urlsplit

from bn.config import Config, WandbLogger, to_dict
from bn.errors import UserError
from bn.files import read_record, write_atomically
from bn.run.directory import RunDirectory
from bn.run.loggers.logger import error_line

if TYPE_CHECKING:
    import numpy as np

    from bn.observe.observation import Histogram

REACH_S = 3.0  # timeout for connecting to the server, before going offline
START_S = 30.0  # timeout for starting a run once the server has answered
FINISH_S = 60.0  # timeout for uploading everything at the end of a run
CLOUD = "api.wandb.ai"  # a key for it is also valid where W&B's own cloud has another address

# W&B shows a run as finished (exit code 0), failed, or crashed (its process ended without reporting). 255 is
# its own code for Ctrl-C.
EXIT_CODES = {"done": 0, "diverged": 0, "interrupted": 255, "failed": 1}
LONGEST_TAG = 64


class Wandb:
    """One W&B run: keeps its id when resumed, and is grouped by experiment and setting.

    It is tagged with the experiment and, if any, the prepared sweep it belongs to.
    """

    def __init__(self, config: Config, choice: WandbLogger, run: RunDirectory) -> None:
        os.environ.setdefault("WANDB_FINISH_TIMEOUT", f"{FINISH_S:g}")
        import wandb

        self.wandb: Any = wandb
        later = f"(`wandb sync {shlex.quote(run.name)}/wandb/offline-run-*` sends the run later)"
        failed = None  # the reason why it is not online
        if choice.mode == "online" and not _reachable(wandb):
            failed = f"no answer from W&B within {REACH_S:g} s"
        group = f"{config.experiment}/{run.path.parent.name}"

        def start(mode: Literal["offline", "online"]) -> Any:
            return wandb.init(
                mode=mode,
                project=choice.project,
                entity=choice.entity,
                group=choice.group or _capped(group),
                name=_capped(f"{group}/{run.path.name}"),
                tags=list(dict.fromkeys(filter(None, (config.experiment, run.sweep, *choice.tags)))),
                id=_run_id(run),
                resume="allow" if mode == "online" else None,
                config=to_dict(config),
                dir=run.path,
                settings=wandb.Settings(
                    silent=True, console="off", init_timeout=START_S, x_disable_stats=True, save_code=False
                ),
            )

        online = None
        if choice.mode == "online" and failed is None:
            try:
                online = start("online")
            except Exception as error:
                failed = error_line(error)
                # W&B's service, unless it crashed, still holds the id of the run that failed to start.
                with contextlib.suppress(Exception):
                    wandb.teardown()
        self.run: Any = online or start("offline")
        if failed is not None:  # printed only once the offline run exists
            print(f"logger.wandb.mode=online: {failed}: going offline {later}", file=sys.stderr)

    # After a resume the steps since the checkpoint are logged again; W&B drops those that it has.

    def log(self, numbers: Mapping[str, float], step: int) -> None:
        self.run.log(dict(numbers), step=step)

    def log_histograms(self, histograms: Mapping[str, "Histogram"], step: int) -> None:
        bars = {name: self.wandb.Histogram(np_histogram=histogram) for name, histogram in histograms.items()}
        self.run.log(bars, step=step)

    def log_image(self, name: str, pixels: "np.ndarray", step: int) -> None:
        self.run.log({name: self.wandb.Image(pixels)}, step=step)

    def finish(self, state: str, reason: str | None) -> None:
        self.run.summary.update({"state": state, "reason": reason})
        self.run.finish(EXIT_CODES[state])


def check_wandb(choice: WandbLogger) -> None:
    """Raise UserError if W&B cannot be used as configured: not installed, or online without a key."""
    if choice.mode == "disabled":
        return
    try:
        import wandb
    except ImportError:
        raise UserError('logger=wandb: wandb is not installed: pip install -e ".[wandb]"') from None
    for tag in choice.tags:
        if len(tag) > LONGEST_TAG:
            raise UserError(f"logger.wandb.tags={tag}: accepted: at most {LONGEST_TAG} characters")
    if choice.mode == "online" and not _has_key(_server(wandb)):
        raise UserError(
            "logger.wandb.mode=online: no W&B key: run `wandb login`, set WANDB_API_KEY, "
            "or choose logger.wandb.mode=offline"
        )


def _run_id(run: RunDirectory) -> str:
    """The id of the W&B run, created once and kept in the run directory."""
    path = run.path / "wandb.json"
    kept = read_record(path, {"id": str}, "restore it, or remove it to continue as a new W&B run")
    if kept is None:
        kept = {"id": uuid.uuid4().hex[:12]}
        write_atomically(path, json.dumps(kept) + "\n")
    return kept["id"]


def _server(wandb: Any) -> SplitResult:
    return urlsplit(wandb.setup().settings.base_url)


def _has_key(server: SplitResult) -> bool:
    """Return whether W&B will find a key in the environment or a netrc file."""
    if os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return True
    for path in filter(None, (os.environ.get("NETRC"), "~/.netrc", "~/_netrc")):
        with contextlib.suppress(OSError, netrc.NetrcParseError):
            hosts = netrc.netrc(os.path.expanduser(path)).hosts
            return server.netloc in hosts or CLOUD in hosts
    return False


def _reachable(wandb: Any) -> bool:
    """Return whether the server accepts a connection within REACH_S. W&B's client would wait for minutes."""
    from urllib.request import getproxies  # slow to import

    if getproxies():
        return True  # W&B's client connects through the proxy, and finds out itself whether that answers
    server = _server(wandb)
    port = server.port or (443 if server.scheme == "https" else 80)
    try:
        socket.create_connection((server.hostname, port), timeout=REACH_S).close()
    except OSError:
        return False
    return True


def _capped(name: str) -> str:
    """Shorten a name to W&B's limit of 128 characters, replacing the rest by a hash."""
    return name if len(name) <= 128 else f"{name[:119]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
