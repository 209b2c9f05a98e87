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

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # this clone's code, whichever is installed

from benchmarks.mnist_contenders import BATCH, contenders
from benchmarks.scaffold import (
    IncrementalRecord,
    Run,
    device_of,
    device_options,
    facts_of,
    in_turns,
    measured_on,
    options,
    seconds,
    threads_of,
)
from bn.cli import planned_run
from bn.config import Config
from bn.data.mnist import Mnist, load_mnist
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
from bn.signals import end_with_parent
from bn.tasks.mnist import population_batches, subject_of

NETWORKS = ("mnist_baseline", "mnist_bn")
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
    record = IncrementalRecord(arguments.save, f"{device.type}{more}", facts_of(device, rounds))

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
    }
    record.finish(document, table)


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
