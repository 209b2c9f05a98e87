"""Measure the start-up time of commands, which each member of a sweep pays.

    python benchmarks/start.py           takes about a minute
    python benchmarks/start.py --save    also write results/benchmark/start.json and its table

Each row is a separate command; the commands take turns.
"""

import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # this clone's code, whichever is installed

from benchmarks.processes import Cost, train, used
from benchmarks.scaffold import COMMITTED, IncrementalRecord, measured_on, options
from bn.run.device import device_name, select_device

RUN = ("experiment=mnist_bn", "steps=1", "device=cpu")
SHORT = ("probe.examples=60", "evaluate.population_batches=1")


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--save", action="store_const", const=COMMITTED, help="write results/benchmark/")
    arguments = parser.parse_args()
    found: dict[str, list[Cost]] = {}
    for _ in range(arguments.rounds):
        with tempfile.TemporaryDirectory() as folder:
            for name, command in commands(Path(folder)).items():
                found.setdefault(name, []).append(used(command))
    document: dict[str, Any] = {
        "kind": "start",
        "found": {
            name: Cost(*(statistics.median(values) for values in zip(*costs, strict=True)))._asdict()
            for name, costs in found.items()
        },
        "rounds": arguments.rounds,
        "device": device_name(select_device("cpu")),
    }
    IncrementalRecord(arguments.save, "start", {}).finish(document, table)


def commands(folder: Path) -> dict[str, Sequence[str]]:
    def python(code: str) -> list[str]:
        return [sys.executable, "-c", code]

    return {
        "an empty Python program": python("pass"),
        "`import torch`": python("import torch"),
        "`import hydra`": python("import hydra"),
        "`python train.py --help`": train("--help"),
        "a run of one step, with one mini-batch of evaluation": train(*RUN, *SHORT, f"output={folder}/short"),
        "a run of one step": train(*RUN, f"output={folder}/run"),
        "the same again, which finds the run finished": train(*RUN, f"output={folder}/run"),
    }


def table(document: dict[str, Any]) -> str:
    """CPU seconds, seconds and memory of each command."""
    lines = ["| command | CPU seconds | seconds | resident MB |", "|---|--:|--:|--:|"]
    for name, cost in document["found"].items():
        lines.append(f"| {name} | {cost['cpu_s']:.2f} | {cost['wall_s']:.2f} | {cost['mb']:,.0f} |")
    return "\n".join([*lines, "", f"{measured_on(document)}.\n"])


if __name__ == "__main__":
    main()
