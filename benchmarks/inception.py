"""Time training and inference of BN-Inception, against its floor and the usual ways to write it.

    python benchmarks/inception.py                 takes a few minutes on two cores
    python benchmarks/inception.py --compiled      also torch.compile (needs a C++ compiler)
    python benchmarks/inception.py --save          also write the record to results/benchmark/
    python benchmarks/inception.py --device cuda --batch 256 --compiled --save FOLDER

The network is that of Figure 5 at 224 (as in BN-x5: no LRN, no dropout), on images in memory;
benchmarks/loaders.py times the loaders. "Plain eager" is the form of public implementations: torch's
BatchNorm2d, the separable convolution in two steps, NCHW. On a CPU all contenders take turns in one process,
so that a slow moment of the machine affects all of them. On a GPU, whose memory cannot hold all of them, each
is measured alone and freed, bf16 first, and --save writes each result at once. The table shows the median
round. The floor is the network's multiply-adds over the throughput of a large matrix product in the same
precision; training counts three forward passes (the gradients of inputs and of weights). On a GPU "float32"
means TF32, torch's default for convolutions; here all matrix products use it too, including the floor's. The
table of a GPU also gives the cost of Figure 3: the paper's steps times 32 images, over the images per second.
"""

import sys
from functools import partial
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # this clone's code, whichever is installed

from benchmarks.device_rates import matrix_rate, top_five
from benchmarks.inception_contenders import CLASSES, Contender, Setting, inferences, trainings
from benchmarks.scaffold import (
    IncrementalRecord,
    device_of,
    device_options,
    facts_of,
    in_turns,
    measured_on,
    options,
    seconds,
    threads_of,
)
from bn.models import inception
from bn.models.counts import counts
from bn.run.device import device_name

STEPS_OF_FIGURE_3 = {  # to 72.2% top-1, in mini-batches of 32
    "Inception": 31.0e6,
    "BN-Baseline": 13.3e6,
    "BN-x5": 2.1e6,
    "BN-x30": 2.7e6,
}
PASSES = {"training": 3, "inference": 1}  # each of the forward pass's multiply-adds


def main() -> None:
    parser = options(__doc__)
    device_options(parser, rounds=9, threads=2)
    parser.add_argument("--batch", type=int, help="default: 16 on a CPU, 256 on a GPU")
    parser.add_argument("--compiled", action="store_true", help="also time torch.compile")
    arguments = parser.parse_args()
    device = device_of(arguments)
    torch.manual_seed(0)
    on_gpu = device.type == "cuda"
    if on_gpu:
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    setting = Setting(device, arguments.batch or (256 if on_gpu else 16))
    rounds = arguments.rounds
    if arguments.tiny:
        setting, rounds = Setting(device, batch=32, size=32, width=0.05, turn_s=0.0), 1
    facts = {**setting._asdict(), **facts_of(device, rounds)}
    record = IncrementalRecord(arguments.save, f"images-{device.type}", facts)
    alone = record if on_gpu or arguments.tiny else None

    rows = {
        "training": measured("training", trainings(setting, arguments.compiled), setting, rounds, alone),
        "inference": measured("inference", inferences(setting, arguments.compiled), setting, rounds, alone),
    }
    document: dict[str, Any] = {
        "kind": "images",
        **{use: [row for row in found if "failed" not in row] for use, found in rows.items()},
        "failed": [row for found in rows.values() for row in found if "failed" in row],
        "multiply_adds": sum(row.multiply_adds for row in counts(inception(CLASSES, size=setting.size))),
        "matrix_rate": {
            name: record.once(f"matrix rate, {name}", partial(matrix_rate, device, name, arguments.tiny))
            for name in ("float32", "bf16")
        },
        "tf32": on_gpu,
        "batch": setting.batch,
        "size": setting.size,
        "threads": arguments.threads,
        "rounds": rounds,
        "device": device_name(device),
    }
    record.finish(document, table)


def measured(
    use: str,
    contenders: list[Contender],
    setting: Setting,
    rounds: int,
    record: IncrementalRecord | None = None,
) -> list[dict[str, Any]]:
    """The results of `together` for all contenders at once or, with a `record`, for one after the other."""
    if record is None:
        return together(contenders, setting, rounds)
    found = {}
    for contender in sorted(contenders, key=lambda one: one.precision != "bf16"):
        name, precision = contender.name, contender.precision
        rows, failed = record.attempt(
            f"{use}: {name}, {precision}", partial(together, [contender], setting, rounds)
        )
        found[name, precision] = rows[0] if rows else {"name": name, "precision": precision, "failed": failed}
    return [found[contender.name, contender.precision] for contender in contenders]


def together(contenders: list[Contender], setting: Setting, rounds: int) -> list[dict[str, Any]]:
    """Median images per second of each contender over rounds of turns; on a GPU also memory."""
    device = setting.device
    on_gpu = device.type == "cuda"
    runs, memory = {}, {}
    for contender in tqdm(contenders, desc="warm up", disable=None):
        before = 0
        if on_gpu:
            torch.cuda.reset_peak_memory_stats()
            before = torch.cuda.memory_allocated()
        run = contender.make()
        for _ in range(3):
            run()
        memory[contender] = torch.cuda.max_memory_allocated() - before if on_gpu else None
        runs[contender] = run
    found = in_turns(runs, partial(seconds, device=device), rounds, setting.turn_s)
    return [
        {
            "name": contender.name,
            "precision": contender.precision,
            "images_per_second": setting.batch / found[contender],
            "memory": memory[contender],
            "top_five": top_five(run) if on_gpu else None,
        }
        for contender, run in runs.items()
    ]


def table(document: dict[str, Any]) -> str:
    """Images per second, the ratio to plain eager float32, and the share of the floor's speed."""
    lines = []
    for use, passes in PASSES.items():
        rows = document[use]
        plain = rows[0]["images_per_second"]  # plain eager float32 NCHW comes first
        memory = rows[0]["memory"] is not None
        lines += [
            f"| {use}, {document['size']} x {document['size']}, {document['batch']} per mini-batch "
            f"| precision | images/s | x plain eager | share of the floor |{' memory (GB) |' * memory}",
            f"|---|---|--:|--:|--:|{'--:|' * memory}",
        ]
        for name in ("float32", "bf16"):
            floor = document["matrix_rate"][name] / (passes * document["multiply_adds"])
            lines.append(
                row("floor: its multiply-adds at the matrix rate", name, floor, plain, floor, None, memory)
            )
        for found in rows:
            rate = document["matrix_rate"][found["precision"]]
            floor = rate / (passes * document["multiply_adds"])
            speed = found["images_per_second"]
            lines.append(row(found["name"], found["precision"], speed, plain, floor, found["memory"], memory))
        lines.append("")
    return "\n".join(lines + notes(document)) + "\n"


def row(
    name: str, precision: str, speed: float, plain: float, floor: float, memory: int | None, with_memory: bool
) -> str:
    used = f" {memory / 1e9:.1f} |" if memory is not None else " - |"
    return (
        f"| {name} | {precision} | {speed:,.1f} | {speed / plain:.2f} | {100 * speed / floor:.0f}% |"
        f"{used if with_memory else ''}"
    )


def notes(document: dict[str, Any]) -> list[str]:
    rate = document["matrix_rate"]
    tf32 = " (TF32, in convolutions too)" if document["tf32"] else ""
    lines = [
        f"{document['multiply_adds'] / 1e6:,.0f}M multiply-adds per forward pass; matrix products reach "
        f"{2 * rate['float32'] / 1e9:,.0f} GFLOP/s in float32{tf32}, {2 * rate['bf16'] / 1e9:,.0f} in bf16.",
        f"{measured_on(document, threads_of(document))}.",
    ]
    lines += [
        f"Failed: {row['name']}, {row['precision']}: {row['failed']}" for row in document.get("failed", ())
    ]
    best = max(document["training"], key=lambda found: found["images_per_second"])
    if best["top_five"]:
        kernels = "; ".join(f"{name} {100 * share:.0f}%" for name, share in best["top_five"])
        lines.append(f"The most expensive kernels of the fastest training step: {kernels}.")
        lines += ["", *costs(best["images_per_second"])]
    return lines


def costs(speed: float) -> list[str]:
    """GPU hours of each network of Figure 3 on LSVRC2012."""
    lines = ["| Figure 3 on LSVRC2012 | steps of 32 to 72.2% (the paper) | GPU hours here |", "|---|--:|--:|"]
    for name, steps in STEPS_OF_FIGURE_3.items():
        lines.append(f"| {name} | {steps / 1e6:.1f}M | {steps * 32 / speed / 3600:,.0f} |")
    return lines


if __name__ == "__main__":
    main()
