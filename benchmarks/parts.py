"""Time the parts of a training step at 224 in bf16 on a GPU, which docs/speed.md predicts.

    python benchmarks/parts.py --device cuda --save measurements     takes five minutes
    python benchmarks/parts.py --tiny                                a rehearsal on a CPU

The network is BN-x5's, for 256 images in groups of 32, unless a part's name says otherwise.
DistributedDataParallel runs with one process, the most that one GPU allows: it has the buckets and NCCL's
calls, and nothing to wait for. Inputs are 256 pinned images as the workers deliver them, the same in each
step.
"""

import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # this clone's code, whichever is installed

from benchmarks.device_rates import copy_rate, matrix_rate, number_of_kernels
from benchmarks.inception_contenders import GROUP, Setting, example, ours, training_step
from benchmarks.inputs import Ahead, Inputs, Pair
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
)
from bn.cli import planned_run
from bn.models.inception import Unit
from bn.models.mlp import HiddenLayer
from bn.models.precision import InPrecision
from bn.norm import module as norm_module
from bn.norm.ghost import ghost_norm
from bn.observe.observation import Subject, build_observer
from bn.run.device import device_name
from bn.tasks.cuda_graph import CudaGraphStep
from bn.tasks.steps import Step
from bn.train import check_finite


def main() -> None:
    parser = options(__doc__)
    device_options(parser, rounds=7, threads=1)
    arguments = parser.parse_args()
    device = device_of(arguments)
    torch.manual_seed(0)
    setting = Setting(device, batch=256)
    if arguments.tiny:
        setting, arguments.rounds = Setting(device, batch=2 * GROUP, size=32, width=0.05, turn_s=0.0), 1
    record = IncrementalRecord(arguments.save, f"parts-{device.type}", facts_of(device, arguments.rounds))
    measured = {
        name: record.attempt(name, measure) for name, measure in parts(setting, arguments.rounds).items()
    }
    document: dict[str, Any] = {
        "kind": "parts",
        "parts": {name: found for name, (found, failed) in measured.items() if failed is None},
        "failed": {name: failed for name, (_, failed) in measured.items() if failed is not None},
        "batch": setting.batch,
        "rounds": arguments.rounds,
        "device": device_name(device),
    }
    record.finish(document, table)


def parts(setting: Setting, rounds: int) -> dict[str, Callable[[], float | list[float]]]:
    """The measurements by name: milliseconds unless the name says otherwise."""
    device = setting.device
    tiny = device.type == "cpu"

    def timed(run: Run) -> float:
        for _ in range(3):
            run()
        return 1000 * in_turns({"": run}, partial(seconds, device=device), rounds, setting.turn_s)[""]

    def ms(make: Callable[[], Run]) -> float:
        return timed(make())

    def kernels(run: Run) -> int:
        run()
        return number_of_kernels(run)

    def both_ways(parallel: bool = False) -> list[float]:
        """A step launched one by one and replayed, with one network that is compiled once."""
        at = setting._replace(batch=GROUP)
        images, labels = example(at)
        model = ours(at)
        with tempfile.TemporaryDirectory() as folder, one_process(device, Path(folder)):
            launched = make_step(model, parallel=parallel)
            found = [timed(lambda: launched(images, labels))]
            replayed = replay(launched, model, images, labels)
            return [*found, timed(lambda: replayed(images, labels))]

    def step(**ways: bool) -> Callable[[], float]:
        return partial(ms, partial(fixed_step, setting, **ways))

    found: dict[str, Callable[[], float | list[float]]] = {
        "a large bf16 matrix product, TFLOP/s": lambda: 2e-12 * matrix_rate(device, "bf16", tiny),
        "a large copy, GB/s": partial(copy_rate, device),
        "step": step(),
        "step, kernels": lambda: kernels(fixed_step(setting)),
        "step, cudnn.benchmark": step(search=True),
        "step, not compiled": step(compiled=False),
        "step, not compiled, launched one by one": step(compiled=False, graph=False),
        "step, not compiled, kernels": lambda: kernels(fixed_step(setting, compiled=False)),
        "step, not compiled, a call for each group": step(compiled=False, apart=True),
        "inputs, upload alone": partial(ms, lambda: Inputs(setting).upload),
        "inputs": partial(ms, lambda: Inputs(setting)),
        "inputs, compiled": partial(ms, lambda: Inputs(setting, compiled=True)),
        "step with its inputs": partial(ms, lambda: fed_step(setting, Inputs(setting))),
        "step with its inputs, compiled": partial(
            ms, lambda: fed_step(setting, Inputs(setting, compiled=True))
        ),
        "step with its inputs, on a stream of their own": partial(
            ms, lambda: fed_step(setting, Ahead(Inputs(setting)))
        ),
        "step with its inputs, compiled, on a stream of their own": partial(
            ms, lambda: fed_step(setting, Ahead(Inputs(setting, compiled=True)))
        ),
        "step of 32: launched one by one, and replayed": both_ways,
        "step of 32 in DistributedDataParallel: launched one by one, and replayed": partial(both_ways, True),
        "observing 256 examples": partial(ms, lambda: observing(setting)),
        "checking that all is finite": partial(ms, lambda: partial(check_finite, ours(setting), 0)),
    }  # fmt: skip
    if tiny:
        found = {
            name: measure for name, measure in found.items() if "stream" not in name and "kernels" not in name
        }
    return found


def fixed_step(
    setting: Setting, *, compiled: bool = True, graph: bool = True, apart: bool = False, search: bool = False
) -> Run:
    """A step repeated on one mini-batch. `apart`: one BN call per group; `search`: cudnn.benchmark."""
    torch.backends.cudnn.benchmark = search
    norm_module.ghost_norm_one_call = ghost_norm if apart else ONE_CALL
    images, labels = example(setting)
    model = ours(setting)
    step = make_step(model, compiled=compiled)
    if graph:
        step = replay(step, model, images, labels)
    return lambda: step(images, labels)


ONE_CALL = norm_module.ghost_norm_one_call


def fed_step(setting: Setting, inputs: Callable[[], Pair]) -> Run:
    model = ours(setting)
    step = replay(make_step(model), model, *example(setting))
    return lambda: step(*inputs())


def make_step(model: nn.Module, *, compiled: bool = True, parallel: bool = False) -> Step:
    """The step as in training, which compiles on a GPU."""
    compiled = compiled and next(model.parameters()).is_cuda
    return training_step(model, "bf16", compiled=compiled, parallel=parallel)


def replay(step: Step, model: nn.Module, images: Tensor, labels: Tensor) -> Step:
    """A CUDA graph of the step on a GPU, as in training; elsewhere the step itself."""
    return CudaGraphStep(step, model, images, labels) if images.is_cuda else step


def observing(setting: Setting) -> Run:
    config = planned_run(["experiment=bn_x5", "scale=imagenet"]).config
    model = ours(setting)
    layers: dict[str, HiddenLayer | Unit] = {
        name: unit
        for name, unit in model.named_modules()
        if isinstance(unit, Unit) and name in config.probe.layers
    }
    subject = Subject(config, model, InPrecision(model, "bf16"), layers, [example(setting)])
    return partial(build_observer(subject).observe, 0)


@contextmanager
def one_process(device: torch.device, folder: Path) -> Iterator[None]:
    """A process group that contains only this process."""
    backend = "nccl" if device.type == "cuda" else "gloo"
    dist.init_process_group(backend, init_method=f"file://{folder}/group", rank=0, world_size=1)
    try:
        yield
    finally:
        dist.destroy_process_group()


def table(document: dict[str, Any]) -> str:
    lines = [f"| {document['batch']} images, bf16 | ms, unless named otherwise |", "|---|--:|"]
    for name, value in document["parts"].items():
        numbers = value if isinstance(value, list) else [value]
        lines.append(f"| {name} | {', '.join(f'{number:,.2f}' for number in numbers)} |")
    missing = [name for name in parts(Setting(torch.device("cuda"), 256), 0) if name not in document["parts"]]
    if missing and document["device"].startswith("NVIDIA"):
        lines.append(f"| not measured yet: {'; '.join(missing)} | |")
    lines += ["", f"{measured_on(document)}."]
    lines += [f"Failed: {name}: {reason}" for name, reason in document["failed"].items()]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
