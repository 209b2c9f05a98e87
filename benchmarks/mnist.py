"""Time a training step of the MNIST network, against its floor and the usual ways to write it.

    python benchmarks/mnist.py                 takes about two minutes
    python benchmarks/mnist.py --compiled      also torch.compile (needs a C++ compiler; a minute more)
    python benchmarks/mnist.py --save          also write the record to results/benchmark/
    python benchmarks/mnist.py --device cuda   on a GPU, where a step is replayed as a CUDA graph

All contenders run in one process on one thread (--threads) and take turns in rounds, so that a slow moment of
the machine affects all of them; the table shows the median round. On a GPU they run one after the other, and
--save writes each result at once. The floor is the step's matrix products alone: 26.4 MFLOP, without the
input gradient of the first layer. At the end both networks are trained in full, side by side.
"""

import dataclasses
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms.functional import to_tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # this clone's code, whichever is installed

from benchmarks.scaffold import (
    IncrementalRecord,
    Run,
    device_of,
    device_options,
    in_turns,
    measured_on,
    options,
    seconds,
    threads_of,
)
from bn.cli import planned_run
from bn.config import Config
from bn.data.mnist import Examples, Mnist, load_mnist
from bn.data.order import EpochOrder
from bn.distributed.losses import LossWindow
from bn.evaluate.accuracy import evaluate, evaluate_population
from bn.files import REPOSITORY
from bn.models.build import build_model
from bn.models.mlp import MLP
from bn.observe.percentiles import Percentiles
from bn.run.checkpoint import save_checkpoint
from bn.run.device import device_name
from bn.run.directory import RunDirectory
from bn.run.environment import environment
from bn.signals import end_with_parent
from bn.tasks.cuda_graph import CudaGraphStep
from bn.tasks.mnist import build_step, population_batches, subject_of

NETWORKS = ("mnist_baseline", "mnist_bn")
SIZES = (784, 100, 100, 100, 10)
BATCH = 60
Pair = tuple[float, float]  # without BN, with BN


def main() -> None:
    parser = options(__doc__)
    device_options(parser, rounds=15, threads=1)
    parser.add_argument("--compiled", action="store_true", help="also time torch.compile")
    parser.add_argument("--no-full", action="store_true", help="leave out the full training of both networks")
    arguments = parser.parse_args()
    device = device_of(arguments)

    configs = [planned_run([f"experiment={name}"]).config for name in NETWORKS]
    loaded = load_mnist(REPOSITORY / configs[0].data.root)
    data = Mnist(loaded.train.to(device), None, loaded.test.to(device))
    runs = contenders(configs, data.train, device, arguments.compiled)
    rounds, turn_s = (1, 0.0) if arguments.tiny else (arguments.rounds, 0.15)
    more = f"-{arguments.threads}-threads" if arguments.threads > 1 else ""
    facts = {"device": device_name(device), "torch": torch.__version__, "rounds": rounds}
    record = IncrementalRecord(arguments.save, f"{device.type}{more}", facts)

    def alone(name: str) -> Pair:
        return time_in_turns({name: runs[name]}, device, rounds, turn_s)[name]

    if device.type == "cuda" or arguments.tiny:
        steps = {name: record.once(name, partial(alone, name)) for name in runs}
    else:
        steps = time_in_turns(runs, device, rounds, turn_s)
    ours = steps["ours, replayed as a CUDA graph" if device.type == "cuda" else "ours"]
    records = [
        record.once(
            f"records of {name}", partial(record_seconds, config, data, device, 1 if arguments.tiny else 7)
        )
        for name, config in zip(NETWORKS, configs, strict=True)
    ]
    full_s = None
    if not arguments.no_full:
        short = ("steps=20", "evaluate.population_batches=2") if arguments.tiny else ()
        full_s = record.once("full training", partial(full_training_seconds, arguments.device, short))
    document: dict[str, Any] = {
        "ms_per_step": steps,
        "records_s": records,
        "records_share": [
            sum(found.values()) / (config.length * ms / 1000)
            for found, config, ms in zip(records, configs, ours, strict=True)
        ],
        "full_training_s": full_s,
        "threads": arguments.threads,
        "rounds": rounds,
        "device": device_name(device),
        "environment": environment(),
    }
    print(table(document))
    record.finish(document)


def contenders(
    configs: list[Config], data: Examples, device: torch.device, compiled: bool
) -> dict[str, tuple[Run, Run]]:
    """The timed steps by name, each without and with BN."""

    def both(make: Callable[[Config], Run]) -> tuple[Run, Run]:
        return make(configs[0]), make(configs[1])

    floor = matrix_products(device)
    found = {
        "floor: its matrix products alone": (floor, floor),
        "loop with a DataLoader": both(lambda config: dataloader_loop(config, data, device)),
        "plain eager loop, data resident": both(lambda config: plain_loop(config, data, device)),
        "ours, readable path (autograd)": both(lambda config: ours(config, data, device, "autograd")),
        "ours": both(lambda config: ours(config, data, device, "fused")),
    }
    if device.type == "cuda":
        found["ours, replayed as a CUDA graph"] = both(lambda c: ours(c, data, device, "fused", True))
    if compiled:
        found["plain loop, forward and backward compiled"] = both(
            lambda config: plain_loop(config, data, device, compiled=True)
        )
        found["whole step compiled, update included"] = both(
            lambda config: compiled_step(config, data, device)
        )
    return found


def matrix_products(device: torch.device) -> Run:
    """The eleven products of a step: four forward, four for dW, three for the inputs' gradients."""
    weights = [torch.randn(n, m, device=device) * 0.1 for m, n in pairwise(SIZES)]
    u = [torch.rand(BATCH, size, device=device) for size in SIZES]
    d = [torch.rand(BATCH, size, device=device) for size in SIZES]
    out = [torch.empty(BATCH, size, device=device) for size in SIZES]
    dw = [torch.empty_like(weight) for weight in weights]

    def step() -> None:
        for i, weight in enumerate(weights):
            torch.mm(u[i], weight.t(), out=out[i + 1])
        for i, weight in reversed(list(enumerate(weights))):
            torch.mm(d[i + 1].t(), u[i], out=dw[i])
            if i:
                torch.mm(d[i + 1], weight, out=out[i])

    return step


def plain_model(config: Config, device: torch.device) -> nn.Sequential:
    """The network written with torch.nn alone."""
    with_bn = config.model.norm == "batch"
    layers: list[nn.Module] = []
    for m, n in pairwise(SIZES[:-1]):
        layers += [nn.Linear(m, n, bias=not with_bn), *([nn.BatchNorm1d(n)] if with_bn else []), nn.Sigmoid()]
    model = nn.Sequential(*layers, nn.Linear(SIZES[-2], SIZES[-1]))
    for layer in model:
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, std=0.1)
    return model.to(device)


def plain_loop(config: Config, data: Examples, device: torch.device, compiled: bool = False) -> Run:
    model = plain_model(config, device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    draw = batches(data, device)

    def loss_of(images: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(model(images.float()), labels)

    forward = torch.compile(loss_of) if compiled else loss_of

    def step() -> Tensor:
        indices = draw()
        loss = forward(data.images[indices], data.labels[indices])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    return step


def dataloader_loop(config: Config, data: Examples, device: torch.device) -> Run:
    """A loop as usually published: PIL images converted one by one, and the loss read at every step."""

    class Digits(Dataset):
        images, labels = data.images.cpu().view(-1, 28, 28).numpy() * 255, data.labels.tolist()

        def __len__(self) -> int:
            return len(self.labels)

        def __getitem__(self, index: int) -> tuple[Tensor, int]:
            return (to_tensor(Image.fromarray(self.images[index])) > 0.5).float(), self.labels[index]

    model = plain_model(config, device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    loader = DataLoader(Digits(), batch_size=BATCH, shuffle=True)
    iterator = iter(loader)

    def step() -> float:
        nonlocal iterator
        try:
            images, labels = next(iterator)
        except StopIteration:
            iterator = iter(loader)
            images, labels = next(iterator)
        loss = F.cross_entropy(model(images.to(device).flatten(1)), labels.to(device))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def compiled_step(config: Config, data: Examples, device: torch.device) -> Run:
    """Forward, backward and the update of every parameter in one compiled graph."""
    model = plain_model(config, device)
    parameters: dict[str, Tensor] = dict(model.named_parameters())
    buffers = dict(model.named_buffers())
    draw = batches(data, device)

    def loss_of(parameters: dict, buffers: dict, images: Tensor, labels: Tensor) -> Tensor:
        logits = torch.func.functional_call(model, (parameters, buffers), (images.float(),))
        return F.cross_entropy(logits, labels)

    @torch.compile
    def update(images: Tensor, labels: Tensor) -> Tensor:
        gradients, loss = torch.func.grad_and_value(loss_of)(parameters, buffers, images, labels)
        for name, parameter in parameters.items():
            parameter.sub_(gradients[name], alpha=0.1)
        return loss

    def step() -> None:
        indices = draw()
        with torch.no_grad():
            update(data.images[indices], data.labels[indices])

    return step


def ours(config: Config, data: Examples, device: torch.device, path: str, graph: bool = False) -> Run:
    """The step of train.py with `step_path=path`."""
    model = cast(MLP, build_model(config)).to(device)
    step = build_step(dataclasses.replace(config, step_path=path), model)
    draw = batches(data, device)
    if graph:
        step = CudaGraphStep(step, model, *data.batch(draw()))
    losses = torch.zeros(100, device=device)

    def one() -> Tensor:
        losses[7] = loss = step(*data.batch(draw()))  # kept without waiting, as in training
        return loss

    return one


def batches(data: Examples, device: torch.device) -> Callable[[], Tensor]:
    """A function that returns the indices of the next mini-batch."""
    order = EpochOrder(len(data.labels), BATCH, 0, device)
    taken = -1

    def draw() -> Tensor:
        nonlocal taken
        taken += 1
        return order(taken)

    return draw


def time_in_turns(
    runs: dict[str, tuple[Run, Run]], device: torch.device, rounds: int, turn_s: float
) -> dict[str, Pair]:
    """Median milliseconds per step of each contender."""

    def measure(run: Run, repeats: int) -> float:
        return 1000 * seconds(run, repeats, device)

    single = {(name, i): run for name, pair in runs.items() for i, run in enumerate(pair)}
    for run in single.values():
        seconds(run, 20, device)
    found = in_turns(single, measure, rounds, 1000 * turn_s, at_least=20)
    return {name: (found[name, 0], found[name, 1]) for name in runs}


def record_seconds(config: Config, data: Mnist, device: torch.device, times: int = 7) -> dict[str, float]:
    """Seconds for each kind of record of a full training: the cost of one times their number."""
    model = cast(MLP, build_model(config)).to(device)
    model(data.train.images[:BATCH].float())  # initializes the moving averages for evaluation
    percentiles = Percentiles(subject_of(config, model, data.train))
    order = EpochOrder(len(data.train.labels), BATCH, 0, device)
    with tempfile.TemporaryDirectory() as name, closing(RunDirectory(Path(name) / "run", config)) as run:
        folder = Path(name) / "checkpoints"

        def save() -> None:
            save_checkpoint(
                folder, 1, {"model": model.state_dict(), "observations": percentiles.state_dict()}
            )
            percentiles.save(Path(name))

        run.open()
        run.start(0, {})
        losses = LossWindow(config.log_every, device)

        def log() -> None:
            losses.count = config.log_every
            run.log({"step": 100, "wall_s": 1.234, "train/loss": losses.mean(100)})

        def median(record: Run) -> float:
            return statistics.median(seconds(record, 1, device) for _ in range(times))

        steps = config.length
        return {
            "evaluation": median(lambda: evaluate(model, data)) * len(config.evaluate.at.steps(steps)),
            "percentiles": median(lambda: percentiles.observe(0)) * len(config.probe.at.steps(steps)),
            "Algorithm 2": median(
                lambda: evaluate_population(
                    model, population_batches(config, data, order), lambda: evaluate(model, data)
                )
            ),
            "logging": median(log) * (steps // config.log_every),
            "checkpoints": median(save) * (steps // config.checkpoint_every),
        }


def full_training_seconds(device: str, overrides: Sequence[str] = ()) -> float:
    """Seconds to train both networks side by side, 50,000 steps each, from the command to the last record."""
    with tempfile.TemporaryDirectory() as output:
        command = [sys.executable, str(REPOSITORY / "train.py"), "-m", f"experiment={','.join(NETWORKS)}"]
        began = time.perf_counter()
        command += [*overrides, f"device={device}", f"output={output}"]
        subprocess.run(command, check=True, capture_output=True, preexec_fn=end_with_parent)
        return time.perf_counter() - began


def table(document: dict[str, Any]) -> str:
    """Milliseconds per step and their ratio to the floor; the cost of records and of a full training."""
    steps = document["ms_per_step"]
    floor = next(iter(steps.values()))  # comes first
    lines = [
        "| one step, 60 examples | without BN: ms | x floor | with BN: ms | x floor |",
        "|---|--:|--:|--:|--:|",
    ]
    for name, (a, b) in steps.items():
        lines.append(f"| {name} | {a:.3f} | {a / floor[0]:.2f} | {b:.3f} | {b / floor[1]:.2f} |")
    without, with_bn = document["records_share"]
    lines += [
        "",
        "All records of a training (evaluations, percentiles, Algorithm 2, logging, checkpoints) cost "
        f"{100 * without:.1f}% on top of its steps without BN, {100 * with_bn:.1f}% with BN.",
    ]
    if document["full_training_s"] is not None:
        lines.append(
            "Both networks' 50,000 steps with all records, side by side, from command to last record: "
            f"{document['full_training_s']:.0f} s."
        )
    return "\n".join([*lines, f"{measured_on(document, threads_of(document))}.\n"])


if __name__ == "__main__":
    main()
