"""The one training loop: draw, step, log, evaluate, observe, save.

A step, from forward to update, is on one page: `AutogradStep` in bn/tasks/steps.py.
"""

import signal
import sys
import time
from collections.abc import Callable, Container
from typing import Any, NamedTuple

import torch
from torch import nn

from bn.config import Config, to_dict
from bn.data.seeds import derive_seed
from bn.distributed.team import ALONE, Team, mean_statistics
from bn.errors import Diverged, Interrupted, UserError, is_out_of_memory, listed, reason_of
from bn.files import NUMBER, misfit
from bn.run.checkpoint import load_latest, save_checkpoint
from bn.run.directory import DIGEST, RunDirectory
from bn.run.environment import processor
from bn.run.losses import LossWindow
from bn.run.metrics import Metrics, Throughput
from bn.run.profiling import profiled
from bn.run.resume import process_state, restore_process_state
from bn.run.warm_start import load_start, origin
from bn.tasks import Task, build_task
from bn.tasks.announcement import first_lines
from bn.tasks.memory import names_memory

# The shape of a checkpoint (bn/files.py); what the task makes of its parts is for the task to say.
CHECKPOINT = {
    "step": int, "wall_s": NUMBER, "config": dict, "model": dict, "optimizer": dict,
    "losses": {"losses": torch.Tensor, "count": int}, "random": {"cpu": torch.Tensor, "cuda?": torch.Tensor},
    "metrics?": DIGEST,
}  # fmt: skip


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
    training = set_up(config, run, progress, team)
    task, losses, numbers, first = training.task, training.losses, training.numbers, training.first
    last = config.length
    evaluate_at = config.evaluate.at.steps(last)
    saved_at = time.monotonic()
    n = first
    try:
        if first == 0 and 0 in task.observer.steps:
            numbers.log(0, task.observer.observe(0))
            numbers.loggers.observe(task.observer, 0)
        task.model.train()
        pace = Throughput(first)
        only = task.draw(1) if config.overfit else None  # the one mini-batch of debug=overfit
        with profiled(run, 0 if team.rank else config.profile, training.device) as profile_step:
            for n in range(first + 1, last + 1):
                images, labels = only or task.draw(n)
                task.step.set_rate(task.rate(n))
                loss = task.step(images, labels)  # forward, loss, backward, update: bn/tasks/steps.py
                losses.add(loss)
                profile_step()

                found: dict[str, float] = {}
                if losses.full or n == last:
                    found["train/loss"] = losses.mean(n, team)
                    if not config.profile:  # the profiler takes most of the time
                        found["train/images_per_second"] = pace.steps_per_second(n) * config.optim.batch
                    found |= task.step_numbers(n)
                if n in evaluate_at:
                    with mean_statistics(task.model, team):
                        check_finite(task.model, n)
                        found |= task.evaluate()
                if n in task.observer.steps:
                    found |= task.observer.observe(n)
                if n == last or (n in evaluate_at and config.evaluate.population == "always"):
                    found |= task.evaluate_population()
                numbers.log(n, found)
                if n in task.observer.steps:
                    numbers.loggers.observe(task.observer, n)

                late = time.monotonic() - saved_at > 60 * config.checkpoint_minutes
                stop, due = team.agree(stop_signal(), late)
                saves = stop is not None or due or n % config.checkpoint_every == 0 or n == last
                if saves:
                    save(training, n)
                    saved_at = time.monotonic()
                if stop is not None and n < last:
                    run.set_status("interrupted", n, signal.Signals(stop).name)
                    raise Interrupted(stop)
                if found or saves or n in task.observer.steps:
                    pace = Throughput(n)
        run.set_status("done", n)
    except Diverged as divergence:
        if team.rank == 0:
            task.observer.save(run.path)
        run.set_status("diverged", n, str(divergence))
    finally:
        task.close()
        numbers.close()


class Training(NamedTuple):
    """What the loop works on, and a checkpoint holds."""

    config: Config
    run: RunDirectory
    team: Team
    device: torch.device
    task: Task  # the network, its data and its step
    losses: LossWindow
    numbers: Metrics
    first: int  # the step of the checkpoint that it resumes from, else 0


def set_up(config: Config, run: RunDirectory, progress: bool | None, team: Team) -> Training:
    """The network, its data and its step, new or from the last checkpoint; the first lines are printed."""
    device = take_device(config.device)
    torch.set_num_threads(config.threads)
    began: dict[str, Any] | None = None  # the checkpoint whose weights a new run has
    unfit: list[int] = []  # steps of checkpoints whose content is not what this training needs
    while True:
        saved = team.broadcast(lambda: last_checkpoint(run, unfit))
        first, earlier_s = (saved["step"], saved["wall_s"]) if saved else (0, 0.0)
        torch.manual_seed(derive_seed(config.seed, "torch", *([team.rank] if team.rank else [])))
        task = build_task(config, device, first, team)
        losses = LossWindow(config.log_every, device)
        if saved is None:
            if config.start is not None:
                began = team.broadcast(lambda: load_start(config))
                task.model.load_state_dict(began["model"])
            break
        try:
            task.load_state_dict(saved)
            inexact = restore_process_state(saved, team, losses, device, task.model, config)
        except (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError) as error:
            task.close()
            if is_out_of_memory(error):
                raise
            unfit.append(first)
            if team.rank == 0:
                line = f"{run.checkpoints}: damaged (that of step {first:,} does not fit: {reason_of(error)})"
                print(f"{line}: using the one before", file=sys.stderr)
            continue
        if inexact and team.rank == 0:
            print(f"{run.name}: {inexact}", file=sys.stderr, flush=True)
        break
    if device.type == "cuda" and config.cuda_graph:
        task.capture()

    facts = {"type": device.type, "name": device_name(device), "threads": config.threads}
    weights = origin(began) if began and team.rank == 0 else None
    run.start(first, {**facts, "processes": team.size}, saved.get("metrics") if saved else None, weights)
    if saved is not None and team.rank == 0:
        task.observer.save(run.path)  # as the checkpoint has it, whatever became of the file
    run.set_status("running", first)
    if team.rank == 0:
        print(first_lines(config, run, device_name(device), task, first), flush=True)
    numbers = Metrics(config, run, first=first, earlier_s=earlier_s, writes=team.rank == 0, progress=progress)
    return Training(config, run, team, device, task, losses, numbers, first)


def save(training: Training, n: int) -> None:
    """A checkpoint of step `n`, and before it what belongs to it: numbers and observations on the disk."""
    config, run, team, task = training.config, training.run, training.team, training.task
    with mean_statistics(task.model, team) as statistics:
        state = {
            "step": n,
            "wall_s": training.numbers.wall_s,
            "config": to_dict(config),  # so that the file alone says what network it holds
            **process_state(team, training.losses, training.device, statistics),
            **task.state_dict(),
        }
        if team.rank == 0:
            # First: a run that has its last checkpoint does nothing more.
            task.observer.save(run.path)
            state["metrics"] = run.sync()
            save_checkpoint(run.checkpoints, n, state)
    run.set_status("running", n)


def last_checkpoint(run: RunDirectory, besides: Container[int] = ()) -> dict[str, Any] | None:
    """The newest sound one of this run; a line on stderr for each other. UserError if none of several is.

    `besides`: the steps of those that turned out not to fit.
    """

    def check(state: dict[str, Any]) -> None:
        if wrong := misfit(state, CHECKPOINT):
            raise UserError(f"damaged ({wrong})")
        if different := run.differences(state["config"]):
            raise UserError(f"of another run: {listed(different)}")

    saved, complaints = load_latest(run.checkpoints, check, besides)
    for complaint in complaints:
        print(f"{complaint}: using the one before", file=sys.stderr)
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
