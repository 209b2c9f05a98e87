"""The one training loop: draw -> step -> log -> evaluate -> observe -> save."""

import signal
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from bn.checkpoint import load_latest, save_checkpoint
from bn.config import Config
from bn.data.mnist import Mnist, Split, load_mnist
from bn.data.order import EpochOrder
from bn.errors import Diverged, Interrupted, UserError
from bn.evaluate import evaluate, evaluate_population
from bn.models.mlp import MLP, mlp
from bn.optim import sgd
from bn.probes import PercentileProbe
from bn.records import REPOSITORY, RunDirectory, processor
from bn.seeds import derive_seed, generator
from bn.steps import AutogradStep, CudaGraphStep, FusedStep, Step
from bn.wandb_logger import open_logger

SHORT = {"train/loss": "loss", "test/accuracy": "accuracy"}  # on the progress bar


def train(
    config: Config,
    run: RunDirectory,
    stop_signal: Callable[[], int | None] = lambda: None,
    progress: bool | None = None,
) -> None:
    """Train to the end, from the last checkpoint if there is one. `run` is open (its lock held).

    Ends with status done or diverged, or raises: Interrupted where `stop_signal` gave a signal (after a
    checkpoint), UserError, or whatever went wrong. `progress`: a bar on stderr; None: where it is a terminal.
    """
    device = take_device(config.device)
    torch.set_num_threads(config.threads)
    torch.manual_seed(derive_seed(config.seed, "torch"))
    data = load_mnist(REPOSITORY / config.data.root, config.data.threshold, config.data.validation)
    data = Mnist(data.train.to(device), data.validation and data.validation.to(device), data.test.to(device))
    model = build_model(config).to(device)
    order = EpochOrder(len(data.train.labels), config.optim.batch, config.seed, device)
    probe = build_probe(config, model, data.train)
    losses = LossWindow(config.log_every, device)
    step = build_step(config, model, data.train)

    saved, complaints = load_latest(run.checkpoints)
    for complaint in complaints:
        print(f"{complaint}: taking the one before", file=sys.stderr)
    first, earlier_wall = 0, 0.0
    if saved is not None:
        first, earlier_wall = saved["step"], saved["wall_s"]
        model.load_state_dict(saved["model"])
        step.load_state_dict(saved["optimizer"])
        probe.load_state_dict(saved["probe"])
        losses.load_state_dict(saved["losses"])
        torch.set_rng_state(saved["torch_rng"])
    if device.type == "cuda" and config.cuda_graph:
        step = CudaGraphStep(step, model, config.optim.batch)

    run.start(first, {"type": device.type, "name": device_name(device), "threads": config.threads})
    run.set_status("running", first)
    print(describe(config, run, device, step, first), flush=True)
    began = time.perf_counter() - earlier_wall
    evaluate_at = config.evaluate.at.steps(config.steps)
    observe_at = config.probe.at.steps(config.steps)
    logger = open_logger(config, run)
    bar = tqdm(
        total=config.steps, initial=first, unit=" steps", disable=None if progress is None else not progress,
        desc=config.experiment, mininterval=0.5, dynamic_ncols=True,
    )  # fmt: skip

    latest: dict[str, str] = {}  # of each number, on the bar

    def save(n: int) -> None:
        state = {
            "step": n,
            "wall_s": time.perf_counter() - began,
            "model": model.state_dict(),
            "optimizer": step.state_dict(),
            "probe": probe.state_dict(),
            "losses": losses.state_dict(),
            "torch_rng": torch.get_rng_state(),
        }
        probe.save(run.activations)  # first: a run that has its last checkpoint does nothing more
        run.sync()
        save_checkpoint(run.checkpoints, n, state)
        run.set_status("running", n)

    def log(n: int, record: dict[str, float]) -> None:
        if record:
            run.log({"step": n, "wall_s": round(time.perf_counter() - began, 3), **record})
            logger.log(record, n)
            latest.update({SHORT.get(key, key): f"{value:.4f}" for key, value in record.items()})
            bar.set_postfix(latest, refresh=False)

    n = first
    try:
        if first == 0 and 0 in observe_at:
            probe.observe(0)
        model.train()
        for n in range(first + 1, config.steps + 1):
            losses.add(step(order(n - 1)))
            bar.update()

            record: dict[str, float] = {}
            if losses.full or n == config.steps:
                record["train/loss"] = losses.mean(n)
            if n in evaluate_at:
                check_finite(model, n)
                record |= evaluate(model, data)
            if n in observe_at:
                probe.observe(n)
            if n == config.steps:
                record |= evaluate_population(model, data, population_batches(config, data, order))
            log(n, record)

            stop = stop_signal()
            if stop is not None or n % config.checkpoint_every == 0 or n == config.steps:
                save(n)
            if stop is not None and n < config.steps:
                run.set_status("interrupted", n, signal.Signals(stop).name)
                raise Interrupted(stop)
        run.set_status("done", n)
    except Diverged as divergence:
        probe.save(run.activations)
        run.set_status("diverged", n, str(divergence))
    finally:
        bar.close()
        logger.finish(0 if run.finished else 1)


def build_model(config: Config) -> MLP:
    m = config.model
    return mlp(
        hidden=m.hidden, norm=m.norm, nonlinearity=m.nonlinearity, init_std=m.init_std,
        bn_eps=m.bn_eps, bn_momentum=m.bn_momentum, generator=generator(config.seed, "init"),
    )  # fmt: skip


def build_probe(config: Config, model: MLP, train: Split) -> PercentileProbe:
    """Over the first examples by a permutation that is the same for all seeds and networks.

    Their number is rounded up to whole mini-batches, or down where there are not so many.
    """
    batch = config.optim.batch
    wanted = -(-config.probe.examples // batch) * batch
    examples = min(wanted, len(train.labels) // batch * batch)
    chosen = torch.randperm(len(train.labels), generator=generator(0, "probe"))[:examples]
    images = train.images[chosen.to(train.images.device)].float()
    return PercentileProbe(model, images, batch, config.probe.percentiles)


def build_step(config: Config, model: MLP, train: Split) -> Step:
    """The fast path where it computes what was asked for, else the readable one."""
    o = config.optim
    if config.step_path == "autograd" or (config.step_path == "auto" and o.momentum):
        return AutogradStep(model, sgd(model, o.lr, o.momentum, o.weight_decay), train)
    return FusedStep(model, train, batch=o.batch, lr=o.lr, decay=o.weight_decay)


def population_batches(config: Config, data: Mnist, order: EpochOrder) -> Iterator[Tensor]:
    """The training mini-batches that Algorithm 2 takes: those that would have come next."""
    for i in range(config.evaluate.population_batches):
        yield data.train.images[order(config.steps + i)].float()


def check_finite(model: nn.Module, step: int) -> None:
    """Diverged if a parameter or a kept statistic left the finite numbers (the paper: "machine infinity")."""
    for name, tensor in model.state_dict().items():
        bad = tensor[~tensor.isfinite()]
        if len(bad):
            raise Diverged(f"{name} holds {bad[0].item()} at step {step}")


class LossWindow:
    """The losses since the last log, kept on the device: reading them is the only wait for it."""

    def __init__(self, size: int, device: torch.device) -> None:
        self.losses = torch.zeros(size, device=device)
        self.count = 0

    @property
    def full(self) -> bool:
        return self.count == len(self.losses)

    def add(self, loss: Tensor) -> None:
        self.losses[self.count] = loss
        self.count += 1

    def mean(self, step: int) -> float:
        """The mean of the window that ends at `step`, which starts anew. Diverged if a loss is not finite."""
        losses = self.losses[: self.count].double().cpu().numpy()
        bad = np.flatnonzero(~np.isfinite(losses))
        if len(bad):
            at = step - len(losses) + 1 + int(bad[0])
            raise Diverged(f"train/loss is {losses[bad[0]]} at step {at}")
        self.count = 0
        return float(losses.mean())

    def state_dict(self) -> dict[str, Any]:
        return {"losses": self.losses, "count": self.count}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.losses.copy_(state["losses"])
        self.count = state["count"]


def take_device(wanted: str) -> torch.device:
    if wanted == "cuda" and not torch.cuda.is_available():
        raise UserError("device=cuda: no CUDA device here; accepted: auto, cpu")
    use_cuda = wanted == "cuda" or (wanted == "auto" and torch.cuda.is_available())
    return torch.device("cuda" if use_cuda else "cpu")


def device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else processor()


def describe(config: Config, run: RunDirectory, device: torch.device, step: Step, first: int) -> str:
    """The first line printed: what runs, on what, and where."""
    path = type(step).__name__
    start = f"from step {first:,} of" if first else "for"
    return (
        f"{config.experiment}: seed {config.seed}, {start} {config.steps:,} steps on {device_name(device)} "
        f"({path}, {config.threads} thread{'s' * (config.threads > 1)}) -> {run.name}"
    )
