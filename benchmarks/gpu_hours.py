"""The cost of Figure 2 in GPU hours, predicted from multiply-adds: 7 networks, 3 seeds, at each scale.

    python scripts/make_figures.py gpu_hours

A training image costs three times the multiply-adds of a forward pass (the gradients of inputs and weights).
The floor assumes the peak throughput of the GPU's data sheet, which no training reaches. The prediction
assumes the throughput that benchmarks/parts.py measured for a step of BN-x5 at 224 with its inputs. Steps on
small images are bound by the number of kernels instead: about a thousand at 5 microseconds (a guess).
Evaluations, compilation and start-up are not counted.
"""

from pathlib import Path

from bn import cli
from bn.config import Config
from bn.files import NUMBER, read_record
from bn.models.build import build_model
from bn.models.counts import counts
from bn.models.inception import Inception
from experiments.networks import NETWORKS, SCALE

SCALES = ("imagenet", "tiny_imagenet")
SEEDS = 3
GPUS = 8
PASSES = 3
PEAK = 989e12  # operations per second of an H100 SXM in bf16, dense: its data sheet
STEP_S = 1000 * 5e-6  # at least
MEASURED = "../benchmark/parts-cuda.json"
STEP = "step with its inputs, compiled"  # its milliseconds


def draw(folder: Path, out: Path) -> None:
    """Write table.md."""
    shape = {"parts": {STEP: NUMBER}, "batch": NUMBER, "device": str}
    measured = read_record(folder / MEASURED, shape)
    configs = {s: cli.planned_run(["experiment=bn_x5", f"scale={s}"]).config for s in SCALES}
    rate = measured["batch"] * operations_of(configs["imagenet"]) / (measured["parts"][STEP] / 1000)
    lines = [
        "| Figure 2 at `scale=` | images per run | multiply-adds per image (M) | GPU hours per run: floor "
        f"| GPU hours per run: at the speed measured on an {measured['device']} "
        f"| hours of all {len(NETWORKS) * SEEDS} runs on {GPUS} GPUs |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    for scale, config in configs.items():
        images = config.length * config.optim.batch
        operations = operations_of(config)
        floor = operations * images / PEAK / 3600
        predicted = max(operations * images / rate, config.length * STEP_S) / 3600
        all_runs = len(NETWORKS) * SEEDS * predicted / GPUS
        lines.append(
            f"| `{scale}` ({SCALE[scale]}) | {images / 1e6:,.1f}M | {operations / 2e6 / PASSES:,.0f} "
            f"| {hours(floor)} | {hours(predicted)} | {hours(all_runs)} |"
        )
    (out / "table.md").write_text("\n".join(lines) + "\n")


def operations_of(config: Config) -> float:
    """The operations of a training image, two for each multiply-add."""
    network = build_model(config)
    assert isinstance(network, Inception)
    return 2 * PASSES * sum(count.multiply_adds for count in counts(network))


def hours(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"
