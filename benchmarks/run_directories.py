"""Time the subcommands of scripts/runs.py on many generated run directories.

    python benchmarks/run_directories.py                 1,000 directories in a temporary folder
    python benchmarks/run_directories.py --number 100

A generated run has the files of a run of Figure 1 (50,000 steps, 500 rows of metrics.jsonl) without
activations and checkpoints; its numbers mean nothing. Prints wall and CPU seconds, including the start of
Python, the better of two.
"""

import dataclasses
import itertools
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # this clone's code, whichever is installed

import yaml

from benchmarks.scaffold import options
from bn.cli import planned_run
from bn.config import Config, to_dict
from bn.files import REPOSITORY
from bn.run.environment import environment

COMMANDS = (
    ("list",), ("list", "optim.lr>=1", "state=done"), ("list", "--csv"),
    ("table", "--level", "0.9"), ("plot", "--out", "{folder}/runs.png"), ("gc",),
)  # fmt: skip
EXPERIMENTS = ("mnist_bn", "mnist_baseline")
RATES = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
DEVIATIONS = (0.01, 0.1, 1.0)


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--number", type=int, default=1_000)
    parser.add_argument("--rows", type=int, default=500)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        make_runs(Path(folder), arguments.number, arguments.rows)
        for command in COMMANDS:
            words = [word.format(folder=folder) for word in command]
            wall, cpu = min(seconds([*words, folder]) for _ in range(2))
            print(f"{' '.join(command):45} {wall:6.2f} s, CPU {cpu:.2f} s", flush=True)


def seconds(words: Sequence[str]) -> tuple[float, float]:
    """Wall and CPU seconds of runs.py with these arguments."""
    began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [sys.executable, REPOSITORY / "scripts" / "runs.py", *words],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.perf_counter() - began, cpu


def make_runs(folder: Path, number: int, rows: int = 500) -> None:
    """Write run directories as training leaves them; every tenth is interrupted."""
    started = json.dumps(
        {"command": "python train.py", **environment(), "device": {"type": "cpu", "name": "made up"},
         "step": 0, "resumed": []},
        indent=2,
    )  # fmt: skip
    curve = made_curve(rows)
    seeds = range(-(-number // (len(EXPERIMENTS) * len(RATES) * len(DEVIATIONS))))
    settings = itertools.product(EXPERIMENTS, RATES, DEVIATIONS, seeds)
    for i, (experiment, lr, std, seed) in enumerate(itertools.islice(settings, number)):
        config = made_config(experiment, lr, std, seed)
        path = folder / experiment / f"model.init_std-{std}__optim.lr-{lr}" / f"seed_{seed}"
        path.mkdir(parents=True)
        state, reason = ("interrupted", "SIGTERM") if i % 10 == 9 else ("done", None)
        status = {"state": state, "step": rows * 100, "steps": config.length, "reason": reason}
        (path / "config.yaml").write_text(yaml.safe_dump(to_dict(config), sort_keys=False))
        (path / "env.json").write_text(started)
        (path / "status.json").write_text(json.dumps(status, indent=2))
        (path / "metrics.jsonl").write_text(curve)
        (path / "lock").write_text("")


def made_config(experiment: str, lr: float, std: float, seed: int) -> Config:
    config = planned_run([f"experiment={experiment}"]).config
    return dataclasses.replace(
        config, seed=seed, optim=dataclasses.replace(config.optim, lr=lr),
        model=dataclasses.replace(config.model, init_std=std),  # type: ignore[call-arg]
    )  # fmt: skip


def made_curve(rows: int) -> str:
    """A metrics.jsonl with a row every 100 steps and an accuracy every 2,500."""
    lines = []
    for step in range(100, rows * 100 + 1, 100):
        row = {"step": step, "wall_s": step / 1000, "train/loss": 100 / step,
               "train/images_per_second": 60_000.0}  # fmt: skip
        if step % 2_500 == 0 or step == rows * 100:
            row["test/accuracy"] = 1 - 50 / step
        if step == rows * 100:
            row["test/accuracy_population"] = 1 - 49 / step
        lines.append(json.dumps(row) + "\n")
    return "".join(lines)


if __name__ == "__main__":
    main()
