"""The training loop: draw, step, log, evaluate, observe, save.

The step itself, from forward pass to update, is `AutogradStep` in bn/tasks/steps.py.
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
from bn.distributed.losses import LossWindow
from bn.distributed.resume import process_state, restore_process_state
from bn.distributed.team import ALONE, Team, mean_statistics
from bn.errors import Diverged, Interrupted, UserError, is_out_of_memory, listed, reason_of
from bn.files import NUMBER, mismatch
from bn.run.checkpoint import load_latest, save_checkpoint
from bn.run.device import device_name, select_device
from bn.run.directory import DIGEST, RunDirectory
from bn.run.metrics import Metrics, Throughput
from bn.run.profiling import profiled
from bn.run.warm_start import load_start, origin
from bn.tasks import Task, build_task
from bn.tasks.header import run_header
from bn.tasks.memory import report_out_of_memory

# The structure of a checkpoint (bn/files.py). The task checks the contents of its own parts.
CHECKPOINT = {
    "step": int, "wall_s": NUMBER, "config": dict, "model": dict, "optimizer": dict,
    "losses": {"losses": torch.Tensor, "count": int}, "random": {"cpu": torch.Tensor, "cuda?": torch.Tensor},
    "metrics?": DIGEST,
}  # fmt: skip


@report_out_of_memory
def train(
    config: Config,
    run: RunDirectory,
    stop_signal: Callable[[], int | None] = lambda: None,
    progress: bool | None = None,
    team: Team = ALONE,
) -> None:
    """Train to the end, from the last checkpoint if there is one. `run` must be open (its lock held).

    The run ends with status done or diverged. Raises Interrupted, after a checkpoint, if `stop_signal`
    returns a signal; UserError; or the error that ended the training. `progress` shows a bar on stderr; None
    shows it if stderr is a terminal.

    Every process of a `team` calls this and takes the same steps. Only rank 0 writes; the `run` of the others
    ignores writes.
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
        throughput = Throughput(first)
        fixed_batch = task.draw(1) if config.overfit else None  # debug=overfit trains on one mini-batch
        with profiled(run, 0 if team.rank else config.profile, training.device) as profile_step:
            for n in range(first + 1, last + 1):
                images, labels = fixed_batch or task.draw(n)
                task.step.set_lr(task.lr(n))
                loss = task.step(images, labels)  # forward, loss, backward, update: bn/tasks/steps.py
                losses.add(loss)
                profile_step()

                metrics: dict[str, float] = {}
                if losses.full or n == last:
                    metrics["train/loss"] = losses.mean(n, team)
                    if not config.profile:  # the profiler takes most of the time
                        images_per_second = throughput.steps_per_second(n) * config.optim.batch
                        metrics["train/images_per_second"] = images_per_second
                    metrics |= task.step_metrics(n)
                if n in evaluate_at:
                    with mean_statistics(task.model, team):
                        check_finite(task.model, n)
                        metrics |= task.evaluate()
                if n in task.observer.steps:
                    metrics |= task.observer.observe(n)
                if n == last or (n in evaluate_at and config.evaluate.population == "always"):
                    metrics |= task.evaluate_population()
                numbers.log(n, metrics)
                if n in task.observer.steps:
                    numbers.loggers.observe(task.observer, n)

                overdue = time.monotonic() - saved_at > 60 * config.checkpoint_minutes
                stop, due = team.agree(stop_signal(), overdue)
                saving = stop is not None or due or n % config.checkpoint_every == 0 or n == last
                if saving:
                    save(training, n)
                    saved_at = time.monotonic()
                if stop is not None and n < last:
                    run.set_status("interrupted", n, signal.Signals(stop).name)
                    raise Interrupted(stop)
                if metrics or saving or n in task.observer.steps:
                    throughput = Throughput(n)
        run.set_status("done", n)
    except Diverged as divergence:
        if team.rank == 0:
            task.observer.save(run.path)
        run.set_status("diverged", n, str(divergence))
    finally:
        task.close()
        numbers.close()


class Training(NamedTuple):
    """The state of the loop, from which checkpoints are made."""

    config: Config
    run: RunDirectory
    team: Team
    device: torch.device
    task: Task  # the network, its data and its step
    losses: LossWindow
    numbers: Metrics
    first: int  # the step of the checkpoint that it resumes from, or 0


def set_up(config: Config, run: RunDirectory, progress: bool | None, team: Team) -> Training:
    """Build the network, its data and its step, restore the last checkpoint if any, and print the header."""
    device = select_device(config.device)
    torch.set_num_threads(config.threads)
    initial: dict[str, Any] | None = None  # the checkpoint that a new run takes its initial weights from
    unfit: list[int] = []  # steps of checkpoints whose contents do not fit this training
    while True:
        saved = team.broadcast(lambda: last_checkpoint(run, unfit))
        first, earlier_s = (saved["step"], saved["wall_s"]) if saved else (0, 0.0)
        torch.manual_seed(derive_seed(config.seed, "torch", *([team.rank] if team.rank else [])))
        task = build_task(config, device, first, team)
        losses = LossWindow(config.log_every, device)
        if saved is None:
            if config.start is not None:
                initial = team.broadcast(lambda: load_start(config))
                task.model.load_state_dict(initial["model"])
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
    weights = origin(initial) if initial and team.rank == 0 else None
    run.start(first, {**facts, "processes": team.size}, saved.get("metrics") if saved else None, weights)
    if saved is not None and team.rank == 0:
        task.observer.save(run.path)  # replaces the files by the checkpoint's state
    run.set_status("running", first)
    if team.rank == 0:
        print(run_header(config, run, device_name(device), task, first), flush=True)
    numbers = Metrics(config, run, first=first, earlier_s=earlier_s, writes=team.rank == 0, progress=progress)
    return Training(config, run, team, device, task, losses, numbers, first)


def save(training: Training, n: int) -> None:
    """Save a checkpoint of step `n`, after flushing its metrics and observations to disk."""
    config, run, team, task = training.config, training.run, training.team, training.task
    with mean_statistics(task.model, team) as statistics:
        state = {
            "step": n,
            "wall_s": training.numbers.wall_s,
            "config": to_dict(config),  # so that the file alone determines the network
            **process_state(team, training.losses, training.device, statistics),
            **task.state_dict(),
        }
        if team.rank == 0:
            # Before the checkpoint: a run whose last checkpoint exists writes nothing more.
            task.observer.save(run.path)
            state["metrics"] = run.sync()
            save_checkpoint(run.checkpoints, n, state)
    run.set_status("running", n)


def last_checkpoint(run: RunDirectory, skip: Container[int] = ()) -> dict[str, Any] | None:
    """Load the newest valid checkpoint of this run, except those of steps in `skip`, or None.

    Prints a line on stderr for each invalid one. Raises UserError if checkpoints exist but all are invalid.
    """

    def check(state: dict[str, Any]) -> None:
        if wrong := mismatch(state, CHECKPOINT):
            raise UserError(f"damaged ({wrong})")
        if different := run.differences(state["config"]):
            raise UserError(f"of another run: {listed(different)}")

    saved, complaints = load_latest(run.checkpoints, check, skip)
    for complaint in complaints:
        print(f"{complaint}: using the one before", file=sys.stderr)
    return saved


def check_finite(model: nn.Module, step: int) -> None:
    """Raise Diverged if a parameter or a moving average is not finite (the paper's "machine infinity")."""
    tensors = model.state_dict()
    if torch.stack([tensor.isfinite().all() for tensor in tensors.values()]).all():
        return  # the usual case synchronizes with the device only once
    for name, tensor in tensors.items():
        bad = tensor[~tensor.isfinite()]
        if len(bad):
            raise Diverged(f"{name} holds {bad[0].item()} at step {step}")
