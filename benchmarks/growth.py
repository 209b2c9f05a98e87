"""Measure how cost grows with work: steps, runs of a sweep, processes, images, checkpoints, run directories.

    python benchmarks/growth.py           takes about ten minutes
    python benchmarks/growth.py --save    also write results/benchmark/growth.json, its table and its plot

Each command runs in its own processes, for growing amounts of work. The cost is their CPU seconds, which
other programs on the machine hardly change, and their largest resident set. A linear cost stays on the line
through the first and the middle amount; the table shows how far the last amount is from it.
"""

import itertools
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # this clone's code, whichever is installed

from benchmarks.photographs import jpeg_file, photograph
from benchmarks.processes import train, used
from benchmarks.scaffold import COMMITTED, IncrementalRecord, measured_on, options
from bn.files import REPOSITORY
from bn.run.device import device_name, select_device
from experiments import style

MNIST = ("experiment=mnist_bn", "device=cpu")
SMOKE = ("experiment=bn_x5", "scale=smoke", "device=cpu", "steps=20")
IMAGES = ("experiment=bn_x5", "scale=tiny_imagenet", "device=cpu", "steps=1", "model.width=0.125")
STREAMED = ("data.classes=2", "data.feed=stream", "data.workers=0", "probe.examples=32")
SHORT = ("evaluate.population_batches=1", "probe.examples=60")

Command = Callable[[int, Path], Sequence[str]]  # for an amount of work, in an empty folder


class Work(NamedTuple):
    unit: str
    amounts: tuple[int, int, int]
    command: Command


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--save", action="store_const", const=COMMITTED, help="write results/benchmark/")
    parser.add_argument("--tiny", action="store_true", help="rehearse with the least work and save nothing")
    arguments = parser.parse_args()
    record = IncrementalRecord(arguments.save, "growth", {"rounds": arguments.rounds})
    found = {}
    for work in WORK:
        amounts = work.amounts[:1] if arguments.tiny else work.amounts
        rows = [
            record.once(f"{amount:,} {work.unit}", lambda: median(work, amount, arguments.rounds))  # noqa: B023
            for amount in amounts
        ]
        found[work.unit] = {"amounts": amounts, "cpu_s": [s for s, _ in rows], "mb": [mb for _, mb in rows]}
    document: dict[str, Any] = {
        "kind": "growth",
        "found": found,
        "rounds": arguments.rounds,
        "device": device_name(select_device("cpu")),
    }
    if not arguments.tiny:
        record.finish(document, table)


def median(work: Work, amount: int, rounds: int) -> tuple[float, float]:
    """CPU seconds and MB, each the median over the rounds."""
    costs = []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            costs.append(used(work.command(amount, Path(folder)))[:2])
    return tuple(statistics.median(values) for values in zip(*costs, strict=True))


def steps(amount: int, folder: Path) -> Sequence[str]:
    return train(*MNIST, f"steps={amount}", f"output={folder}")


def runs(amount: int, folder: Path) -> Sequence[str]:
    seeds = ",".join(map(str, range(amount)))
    return train("-m", *MNIST, *SHORT, "steps=1", f"seed={seeds}", f"output={folder}")


def processes(amount: int, folder: Path) -> Sequence[str]:
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={amount}"]
    return [*launcher, "train.py", *SMOKE, f"optim.batch={32 * amount}", f"output={folder}"]


def images(amount: int, folder: Path) -> Sequence[str]:
    """One step of a network on an image folder whose files are links to a few images."""
    content = jpeg_file(photograph(0, 64, 64))
    for split, number in (("train", amount), ("val", 64)):
        for label in range(2):
            place = folder / "images" / split / f"class_{label}"
            place.mkdir(parents=True)
            first = place / "0.jpg"
            first.write_bytes(content)
            for i in range(1, number // 2):
                os.link(first, place / f"{i}.jpg")
    root = f"data.root={folder / 'images'}"
    return train(*IMAGES, *STREAMED, root, "evaluate.population_batches=1", f"output={folder}")


def checkpoints(amount: int, folder: Path) -> Sequence[str]:
    return train(*MNIST, *SHORT, "steps=2000", f"checkpoint_every={2000 // amount}", f"output={folder}")


def run_directories(amount: int, folder: Path) -> Sequence[str]:
    """A list of copies of one run."""
    output = folder / "runs"
    subprocess.run(train(*MNIST, *SHORT, "steps=200", f"output={output}"), cwd=REPOSITORY, check=True,
                   stdout=subprocess.DEVNULL)  # fmt: skip
    first = next(output.rglob("config.yaml")).parent
    for seed in range(1, amount):
        copy = first.parent / f"seed_{seed}"
        shutil.copytree(first, copy, ignore=shutil.ignore_patterns("checkpoints"))
        config = copy / "config.yaml"
        config.write_text(config.read_text().replace("seed: 0", f"seed: {seed}"))
    return [sys.executable, "scripts/runs.py", str(output)]


WORK = (
    Work("steps of the MNIST network", (10_000, 20_000, 40_000), steps),
    Work("runs in a sweep", (1, 4, 16), runs),
    Work("processes of one training", (1, 2, 4), processes),
    Work("images in the data set", (1_000, 20_000, 80_000), images),
    Work("checkpoints in 2,000 steps", (2, 100, 400), checkpoints),
    Work("run directories in a list", (1, 200, 1_000), run_directories),
)


def from_the_line(amounts: Sequence[int], costs: Sequence[float]) -> float:
    """The cost of the last amount over that on the line through the first and the middle one."""
    (first, middle, last), (a, b, c) = amounts, costs
    return c / (a + (b - a) * (last - first) / (middle - first))


def table(document: dict[str, Any]) -> str:
    """CPU seconds and MB for each amount of work, and the last one over its value on the line."""
    lines = [
        "| work | CPU seconds | last / linear | resident MB | last / linear |",
        "|---|---|--:|---|--:|",
    ]
    for unit, found in document["found"].items():
        amounts = found["amounts"]
        cells = [f"{', '.join(f'{amount:,}' for amount in amounts)} {unit}"]
        for costs, digits in ((found["cpu_s"], 1), (found["mb"], 0)):
            cells.append(", ".join(f"{value:,.{digits}f}" for value in costs))
            cells.append(f"{from_the_line(amounts, costs):.2f}")
        lines.append(f"| {' | '.join(cells)} |")
    note = '"Last / linear" is the last number over its value on the line through the first two'
    return "\n".join([*lines, "", f"{note}. {measured_on(document)}.\n"])


def plot(document: dict[str, Any], stem: Path) -> None:
    """Draw one panel per kind of work: CPU seconds and memory against the amount, each with its line."""
    found = document["found"]
    fig, axes = style.figure(7.5, 4.4, columns=3, rows=2)
    for axis, (unit, costs) in zip(itertools.chain(*axes), found.items(), strict=True):
        amounts = costs["amounts"]
        memory = axis.twinx()
        for one, values, look in ((axis, costs["cpu_s"], style.WITH), (memory, costs["mb"], style.WITHOUT)):
            slope = (values[1] - values[0]) / (amounts[1] - amounts[0])
            ends = [values[0], values[0] + slope * (amounts[2] - amounts[0])]
            one.plot([amounts[0], amounts[2]], ends, color="#999999", linewidth=0.8, zorder=1)
            one.plot(amounts, values, "o", color=look["color"], markersize=4)
            one.set_ylim(0, 1.15 * max(*values, *ends))
        memory.grid(False)
        memory.spines["right"].set_visible(True)
        axis.set_xlabel(unit)
        style.thousands(axis.xaxis)
        axis.tick_params(axis="y", colors=style.WITH["color"])
        memory.tick_params(axis="y", colors=style.WITHOUT["color"])
    fig.suptitle(
        "Cost against work: CPU seconds (blue, left) and resident MB (orange, right); gray: linear",
        fontsize=9,
    )
    style.save(fig, stem)


if __name__ == "__main__":
    main()
