"""Time the loaders against torchvision's usual pipeline.

    python benchmarks/loaders.py                             images per second and core, in two minutes
    python benchmarks/loaders.py --save                      also write the record to results/benchmark/
    python benchmarks/loaders.py --device cuda --workers 16  throughput of a GPU and its workers

For large images, which are files, the streaming loader is compared with ImageFolder, PIL, RandomResizedCrop,
mirroring, ToTensor and Normalize, one image after another, in a DataLoader. For small images, the resident
loader is compared with the same transforms of arrays in memory. Without workers one thread does everything,
and CPU seconds are measured; with workers, wall-clock seconds. All contenders take turns, and the table shows
the median round. --save writes the results of each image size at once. The images are generated
(benchmarks/photographs.py).
"""

import argparse
import dataclasses
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms
from torchvision.datasets import ImageFolder
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # this clone's code, whichever is installed

from benchmarks.photographs import jpeg_file, photograph
from benchmarks.scaffold import (
    IncrementalRecord,
    Run,
    counting,
    device_of,
    device_options,
    facts_of,
    forever,
    in_turns,
    measured_on,
    options,
    seconds,
)
from bn.config import ImageData
from bn.data.datasets import ArrayDataset
from bn.data.images import Plan, find_datasets, open_loader
from bn.data.order import ImageOrder
from bn.data.photometric import MEAN, STD, distort, normalize
from bn.data.resident import Resident
from bn.data.stream import PREFETCH, training_step
from bn.run.device import device_name

BATCH = 32
SECONDS = 0.6  # per turn
PHOTOGRAPHS = 32  # different images, half of them in each of two classes
SIZES = ((375, 500), (960, 1280))  # of files
SMALL = {"CIFAR-10": (32, 28), "Tiny ImageNet": (64, 56)}  # side of an image and of a crop
STRENGTHS = ("none", "reduced", "googlenet")


def main() -> None:
    parser = options(__doc__)
    device_options(parser, rounds=9, threads=1)
    parser.add_argument("--workers", type=int, default=0)
    arguments = parser.parse_args()
    device = device_of(arguments)
    if arguments.tiny:
        arguments.rounds = 1
    facts = {**facts_of(device, arguments.rounds), "workers": arguments.workers}
    record = IncrementalRecord(arguments.save, f"data-{device.type}", facts)
    found: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as name:
        for height, width in SIZES[: 1 if arguments.tiny else None]:
            root = Path(name) / f"{height}"
            write_photographs(root, height, width)
            title = f"JPEG, {width}x{height}, crops of 224"
            runs = partial(of_files, root, device, arguments.workers)
            found[title] = record.once(title, partial(rates, runs, device, arguments))
        kilobytes = np.mean([path.stat().st_size for path in (Path(name) / "375").rglob("*.jpg")]) / 1000
    for name, (side, crop) in SMALL.items():
        title = f"{name}'s size, {side}x{side} on the device, crops of {crop}"
        runs = partial(of_small_images, side, crop, device, arguments.workers)
        found[title] = record.once(title, partial(rates, runs, device, arguments))
    document: dict[str, Any] = {
        "kind": "data",
        "images_per_second": found,
        "kilobytes": kilobytes,
        "workers": arguments.workers,
        "batch": BATCH,
        "rounds": arguments.rounds,
        "device": device_name(device),
    }
    record.finish(document, table)


def write_photographs(root: Path, height: int, width: int) -> None:
    for i in tqdm(range(PHOTOGRAPHS), desc="making photographs", disable=None):
        content = jpeg_file(photograph(i, height, width))
        for split in ("train", "val"):
            folder = root / split / f"class_{i % 2}"
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{i}.jpg").write_bytes(content)


def of_files(root: Path, device: torch.device, workers: int) -> dict[str, Run]:
    data = ImageData(
        name="imagenet", root=str(root), classes=2, resize=256, crop=224, area=0.08, aspect=4 / 3,
        distortion="none", shuffle="complete", shard_size=32, feed="stream", workers=workers,
    )  # fmt: skip
    runs = {
        "torchvision's usual pipeline": usual(
            ImageFolder(str(root / "train"), transform(224)), device, workers
        )
    }
    pictures = find_datasets(data)["train"]
    order = ImageOrder(len(pictures), BATCH, 0, data.shuffle, data.shard_size)
    if not workers:
        runs["ours, as far as workers do it"] = counting(partial(training_step, pictures, data, order))
    for strength in STRENGTHS:
        images = open_loader(
            dataclasses.replace(data, distortion=strength), Plan(steps=1 << 40, batch=BATCH, seed=0), device
        )
        runs[f"ours, distortion {strength}"] = counting(images.batch)
    return runs


def of_small_images(side: int, crop: int, device: torch.device, workers: int) -> dict[str, Run]:
    pixels = np.stack([photograph(i, side, side) for i in range(1000)])

    class Arrays(Dataset):
        transform = staticmethod(transform(crop))

        def __len__(self) -> int:
            return len(pixels)

        def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
            return self.transform(Image.fromarray(pixels[index])), index % 10

    data = ImageData(
        name="cifar10", root="", classes=10, resize=side, crop=crop, area=0.08, aspect=4 / 3,
        distortion="none", shuffle="complete", shard_size=32, feed="resident", workers=0,
    )  # fmt: skip
    runs = {"torchvision's usual pipeline": usual(Arrays(), device, workers)}
    arrays = np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))
    pictures = ArrayDataset(arrays, np.arange(1000) % 10, name="made")
    order = ImageOrder(1000, BATCH, 0, "complete", 32)
    resident = Resident(data, {"train": pictures}, order, device)
    for strength in STRENGTHS:

        def feed(n: int, strength: str = strength) -> torch.Tensor:
            cropped = resident.training(n)
            return normalize(distort(cropped.images, cropped.color, strength))

        runs[f"ours, distortion {strength}"] = counting(feed)
    return runs


def transform(crop: int) -> transforms.Compose:
    return transforms.Compose(
        [
            transforms.RandomResizedCrop(crop),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize([mean / 255 for mean in MEAN], [STD / 255] * 3),
        ]
    )


def usual(dataset: Dataset, device: torch.device, workers: int) -> Run:
    loader = DataLoader(
        dataset, BATCH, shuffle=True, drop_last=True, num_workers=workers,
        pin_memory=device.type == "cuda", persistent_workers=workers > 0,
    )  # fmt: skip
    batches = forever(loader)
    return lambda: [tensor.to(device, non_blocking=True) for tensor in next(batches)]


def rates(
    make: Callable[[], dict[str, Run]], device: torch.device, arguments: argparse.Namespace
) -> dict[str, float]:
    """Median images per second of each contender from `make`, over rounds of turns."""
    together = arguments.workers or device.type == "cuda"
    clock = time.perf_counter if together else time.process_time
    ahead = 3 * PREFETCH * arguments.workers  # not timed: made during the turns of others

    def measure(run: Run, repeats: int) -> float:
        for _ in range(ahead):
            run()
        return seconds(run, repeats, device, clock)

    turn_s = 0.0 if arguments.tiny else SECONDS
    found = in_turns(make(), measure, arguments.rounds, turn_s, at_least=4)
    return {name: BATCH / each for name, each in found.items()}


def table(document: dict[str, Any]) -> str:
    """Images per second of each loader, and the ratio to the usual pipeline's."""
    lines = []
    each = "images/s" if document["workers"] else "images/s per core"
    for title, found in document["images_per_second"].items():
        usual = next(iter(found.values()))  # comes first
        lines += [f"| {title} | {each} | x usual |", "|---|--:|--:|"]
        lines += [f"| {name} | {rate:,.0f} | {rate / usual:.2f} |" for name, rate in found.items()]
        lines.append("")
    count = document["workers"]
    workers = f"{count} worker{'s' * (count > 1)}" if count else "no workers, 1 thread"
    batches = f"mini-batches of {document['batch']}"
    files = f"files in memory ({document['kilobytes']:.0f} KB each at 500x375)"
    return "\n".join([*lines, f"{measured_on(document, workers, batches, files)}.\n"])


if __name__ == "__main__":
    main()
