"""What Figure 2 costs on GPUs, predicted from multiply-adds: 7 networks, 3 seeds, at each scale.

    python scripts/make_figures.py gpu_hours

A training image costs three times the multiply-adds of a forward pass (the gradients of inputs and weights).
The floor assumes the peak throughput of the GPU's data sheet, which no training reaches. The prediction
assumes the throughput that benchmarks/inception.py measured for BN-Inception at 224 on a GPU, if that
record exists (results/benchmark/images-cuda.json), else a fifth of the peak, a guess that is marked as one.
Steps on small images are bound by the number of kernels instead: about a thousand of 5 microseconds (also a
guess). Evaluations, compilation and start-up are not counted.
"""

from pathlib import Path
from typing import NamedTuple

from bn import cli
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
GUESSED_SHARE = 0.2
STEP_S = 1000 * 5e-6  # at least
MEASURED = "../benchmark/images-cuda.json"


class Rate(NamedTuple):
    operations: float  # per second, two for each multiply-add
    words: str


def draw(folder: Path, out: Path) -> None:
    """table.md."""
    rate = training_rate(folder / MEASURED)
    lines = [
        f"| Figure 2 at `scale=` | images in a run | multiply-adds an image (M) | GPU hours of a run: floor "
        f"| {rate.words} | its {len(NETWORKS) * SEEDS} runs on {GPUS} GPUs, hours |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    for scale in SCALES:
        config = cli.planned_run(["experiment=bn_x5", f"scale={scale}"]).config
        network = build_model(config)
        assert isinstance(network, Inception)
        images = config.length * config.optim.batch
        multiply_adds = sum(count.multiply_adds for count in counts(network))
        operations = 2 * PASSES * multiply_adds * images
        floor = operations / PEAK / 3600
        predicted = max(operations / rate.operations, config.length * STEP_S) / 3600
        all_runs = len(NETWORKS) * SEEDS * predicted / GPUS
        lines.append(
            f"| `{scale}` ({SCALE[scale]}) | {images / 1e6:,.1f}M | {multiply_adds / 1e6:,.0f} "
            f"| {hours(floor)} | {hours(predicted)} | {hours(all_runs)} |"
        )
    (out / "table.md").write_text("\n".join(lines) + "\n")


def training_rate(record: Path) -> Rate:
    """That of BN-Inception at 224 as measured, or a guess."""
    shape = {"training": [{"images_per_second": NUMBER}], "multiply_adds": NUMBER, "device": str}
    document = read_record(record, shape)
    if document is None:
        share = f"{GUESSED_SHARE:.0%} of the peak (a guess: not measured yet)"
        return Rate(GUESSED_SHARE * PEAK, f"at {share}")
    best = max(found["images_per_second"] for found in document["training"])
    operations = 2 * PASSES * document["multiply_adds"] * best
    return Rate(operations, f"as measured on {document['device']}")


def hours(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"
