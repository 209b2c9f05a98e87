"""The one training loop: draw -> step -> log -> evaluate -> observe -> save."""

import math
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from tqdm import tqdm

from bn.config import Config, to_dict
from bn.distributed.team import ALONE, Team, mean_statistics
from bn.errors import Diverged, Interrupted, UserError
from bn.run.checkpoint import load_latest, save_checkpoint
from bn.run.directory import RunDirectory, processor
from bn.run.loggers import NullLogger, open_logger
from bn.run.losses import LossWindow
from bn.run.resume import own_state, restore_own
from bn.seeds import derive_seed
from bn.tasks import Task, build_task
from bn.tasks.memory import names_memory

ON_THE_BAR = {  # the other numbers are in metrics.jsonl alone
    "train/loss": "loss",
    "train/images_per_second": "images/s",
    "test/accuracy": "accuracy",
    "validation/accuracy": "validation",
}


@names_memory
def train(
    config: Config,
    run: RunDirectory,
    stop_signal: Callable[[], int | None] = lambda: None,
    progress: bool | None = None,
    team: Team = ALONE,
) -> None:
    """Train to the end, from the last checkpoint if there is one. `run` is open (its lock held).

    Ends with status done or diverged, or raises: Interrupted where `stop_signal` gave a signal (after a
    checkpoint), UserError, or whatever went wrong. `progress`: a bar on stderr; None: where it is a terminal.

    Of a `team` of several processes every one calls this, and they take the same steps; rank 0 alone writes,
    and the others' `run` is one that is not written to.
    """
    writes = team.rank == 0
    device = take_device(config.device)
    torch.set_num_threads(config.threads)
    torch.manual_seed(derive_seed(config.seed, "torch", *([] if writes else [team.rank])))
    saved = team.of_rank_0(lambda: last_checkpoint(run))
    first, earlier_wall = (saved["step"], saved["wall_s"]) if saved else (0, 0.0)

    task = build_task(config, device, first, team)
    losses = LossWindow(config.log_every, device, skips=config.precision == "fp16")
    if saved is not None:
        task.load_state_dict(saved)
        inexact = restore_own(saved, team, losses, device, task.model, config)
        if inexact and writes:
            print(f"{run.name}: {inexact}", file=sys.stderr, flush=True)
    if device.type == "cuda" and config.cuda_graph and team.size == 1:
        task.capture()

    facts = {"type": device.type, "name": device_name(device), "threads": config.threads}
    run.start(first, {**facts, "processes": team.size})
    run.set_status("running", first)
    if writes:
        print(describe(config, run, device, task, first), flush=True)
    began = time.perf_counter() - earlier_wall
    evaluate_at = config.evaluate.at.steps(config.length)
    observe_at = config.probe.at.steps(config.length)
    logger = open_logger(config, run) if writes else NullLogger()
    hidden = None if progress is None else not progress
    bar = tqdm(
        total=config.length, initial=first, unit=" steps", disable=hidden if writes else True,
        desc=config.experiment, mininterval=0.5, dynamic_ncols=True,
    )  # fmt: skip

    latest: dict[str, str] = {}  # of each number, on the bar

    def save(n: int) -> None:
        nonlocal saved_at
        with mean_statistics(task.model, team) as statistics:
            state = {
                "step": n,
                "wall_s": time.perf_counter() - began,
                "config": to_dict(config),  # so that the file alone says what network it holds
                **own_state(team, losses, device, statistics),
                **task.state_dict(),
            }
            if writes:
                # First: a run that has its last checkpoint does nothing more.
                task.probe.save(run.activations)
                run.sync()
                save_checkpoint(run.checkpoints, n, state)
        run.set_status("running", n)
        saved_at = time.monotonic()

    def log(n: int, record: dict[str, float]) -> None:
        # JSON has no infinity: of a skipped step in fp16 there is no gradient norm, of a network that gives
        # no finite answers no validation loss.
        record = {key: value for key, value in record.items() if math.isfinite(value)}
        if record:
            run.log({"step": n, "wall_s": round(time.perf_counter() - began, 3), **record})
            logger.log(record, n)
            latest.update(
                {ON_THE_BAR[key]: f"{value:.4g}" for key, value in record.items() if key in ON_THE_BAR}
            )
            bar.set_postfix(latest, refresh=False)

    n = first
    saved_at = time.monotonic()
    try:
        if first == 0 and 0 in observe_at:
            task.probe.observe(0)
        task.model.train()
        pace = Pace(first)
        for n in range(first + 1, config.length + 1):
            losses.add(task.advance(n))
            bar.update()

            record: dict[str, float] = {}
            if losses.full or n == config.length:
                record["train/loss"] = losses.mean(n, team)
                record["train/images_per_second"] = pace.steps_per_second(n) * config.optim.batch
                record |= task.observations(n)
            if n in evaluate_at:
                with mean_statistics(task.model, team):
                    check_finite(task.model, n)
                    record |= task.evaluate()
            if n in observe_at:
                task.probe.observe(n)
            if n == config.length:
                record |= task.evaluate_population()
            log(n, record)

            late = time.monotonic() - saved_at > 60 * config.checkpoint_minutes
            stop, due = team.agree(stop_signal(), late)
            saves = stop is not None or due or n % config.checkpoint_every == 0 or n == config.length
            if saves:
                save(n)
            if stop is not None and n < config.length:
                run.set_status("interrupted", n, signal.Signals(stop).name)
                raise Interrupted(stop)
            if record or saves or n in observe_at:
                pace = Pace(n)
        run.set_status("done", n)
    except Diverged as divergence:
        if writes:
            task.probe.save(run.activations)
        run.set_status("diverged", n, str(divergence))
    finally:
        task.close()
        bar.close()
        logger.finish(0 if run.finished else 1)


def last_checkpoint(run: RunDirectory) -> dict[str, Any] | None:
    """The newest sound one; a line on stderr for each that is not. UserError if none of several is."""
    saved, complaints = load_latest(run.checkpoints)
    for complaint in complaints:
        print(f"{complaint}: taking the one before", file=sys.stderr)
    return saved


def check_finite(model: nn.Module, step: int) -> None:
    """Diverged if a parameter or a kept statistic left the finite numbers (the paper: "machine infinity")."""
    tensors = model.state_dict()
    if torch.stack([tensor.isfinite().all() for tensor in tensors.values()]).all():
        return  # as almost always: the device was waited for once
    for name, tensor in tensors.items():
        bad = tensor[~tensor.isfinite()]
        if len(bad):
            raise Diverged(f"{name} holds {bad[0].item()} at step {step}")


def take_device(wanted: str) -> torch.device:
    if wanted == "cuda" and not torch.cuda.is_available():
        raise UserError("device=cuda: no CUDA device here; accepted: auto, cpu")
    use_cuda = wanted == "cuda" or (wanted == "auto" and torch.cuda.is_available())
    return torch.device("cuda" if use_cuda else "cpu")


def device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else processor()


def describe(config: Config, run: RunDirectory, device: torch.device, task: Task, first: int) -> str:
    """The first line printed: what runs, on what, and where."""
    start = f"from step {first:,} of" if first else "for"
    return (
        f"{config.experiment}: seed {config.seed}, {start} {config.length:,} steps on {device_name(device)} "
        f"({task.describe()}, {config.threads} thread{'s' * (config.threads > 1)}) -> {run.name}"
    )


class Pace:
    """Steps per second since step `first`, evaluations and saving left out: it starts anew after them."""

    def __init__(self, first: int) -> None:
        self.first = first
        self.began = time.perf_counter()

    def steps_per_second(self, n: int) -> float:
        return round((n - self.first) / (time.perf_counter() - self.began), 3)
