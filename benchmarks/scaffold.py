"""Shared code of the benchmarks: options, the clock, contenders that take turns, an incremental record."""

import argparse
import gc
import itertools
import json
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from tqdm import tqdm

from bn.errors import ArgumentParser, reason_of
from bn.files import REPOSITORY, read_record, write_atomically
from bn.run.device import device_name
from bn.run.environment import environment

T = TypeVar("T")
Key = TypeVar("Key", bound=Hashable)
Run = Callable[[], object]  # one step, or one mini-batch
COMMITTED = REPOSITORY / "results" / "benchmark"


def options(description: str | None) -> argparse.ArgumentParser:
    """The parser of a benchmark, described by its docstring."""
    return ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)


def device_options(parser: argparse.ArgumentParser, rounds: int, threads: int) -> None:
    """Add the options of a benchmark that runs on either device."""
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--threads", type=int, default=threads)
    parser.add_argument("--rounds", type=int, default=rounds)
    parser.add_argument(
        "--save", nargs="?", const=COMMITTED, type=Path, metavar="FOLDER",
        help="write to results/benchmark/ or FOLDER; the same command continues an interrupted benchmark",
    )  # fmt: skip
    parser.add_argument("--tiny", action="store_true", help="rehearse in seconds; the numbers mean nothing")


def device_of(arguments: argparse.Namespace) -> torch.device:
    """Set the threads and return the device; exit if the device or the compiler is missing."""
    name = Path(sys.argv[0]).name
    if arguments.device == "cuda" and not torch.cuda.is_available():
        sys.exit(f"{name}: --device cuda: no CUDA device available")
    if getattr(arguments, "compiled", False) and not any(map(shutil.which, ("c++", "g++", "clang++"))):
        sys.exit(f"{name}: --compiled: needs a C++ compiler (training on a CPU does not)")
    torch.set_num_threads(arguments.threads)
    return torch.device(arguments.device)


def seconds(
    run: Run, repeats: int, device: torch.device, clock: Callable[[], float] = time.perf_counter
) -> float:
    """Seconds per call, with the device synchronized before and after."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    began = clock()
    for _ in range(repeats):
        run()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return (clock() - began) / repeats


def counting(feed: Callable[[int], T]) -> Callable[[], T]:
    """Call `feed` with 0 the first time, then with 1, and so on."""
    numbers = itertools.count()
    return lambda: feed(next(numbers))


def forever(loader: Iterable[T]) -> Iterator[T]:
    """The batches of a loader, epoch after epoch."""
    while True:
        yield from loader


def in_turns(
    runs: Mapping[Key, Run],
    measure: Callable[[Run, int], float],
    rounds: int,
    turn_s: float,
    at_least: int = 1,
) -> dict[Key, float]:
    """Median seconds per call of each, over rounds in which all take turns of `turn_s` seconds.

    A slow moment of the machine then affects all of them. `measure(run, repeats)` returns the seconds per
    call; a turn has `at_least` that many calls.
    """
    repeats = {key: max(at_least, round(turn_s / measure(run, at_least))) for key, run in runs.items()}
    found: dict[Key, list[float]] = {key: [] for key in runs}
    for _ in tqdm(range(rounds), desc="rounds", disable=None):
        for key, run in runs.items():
            found[key].append(measure(run, repeats[key]))
    return {key: statistics.median(values) for key, values in found.items()}


def facts_of(device: torch.device, rounds: int) -> dict[str, Any]:
    """What every measurement on a device depends on."""
    return {"device": device_name(device), "torch": torch.__version__, "rounds": rounds}


class IncrementalRecord:
    """A record written after each measurement: an interrupted benchmark loses only the current one.

    The file is `<folder>/<name>.part.json` until everything is measured, then `<name>.json`, which has the
    commit of each measurement. Without a folder nothing is written. Measurements with other `facts`, such as
    another device, are not reused.
    """

    def __init__(self, folder: Path | None, name: str, facts: Mapping[str, Any]) -> None:
        self._folder = folder
        self._name = name
        self._facts = dict(facts)
        self._found: dict[str, Any] = {}
        self._commits: dict[str, str | None] = {}
        self._commit = environment()["commit"]
        if folder is not None:
            shape = {"facts": dict, "found": dict, "commits?": dict}
            kept = read_record(self._part(folder), shape, "remove it to measure anew")
            if kept and kept["facts"] == self._facts:
                self._found = kept["found"]
                self._commits = kept.get("commits", dict.fromkeys(self._found, "unknown"))

    def once(self, key: str, measure: Callable[[], T]) -> T:
        """Return the saved result for `key`, or else measure, print and save it."""
        if key not in self._found:
            self._found[key] = measure()
            self._commits[key] = self._commit
            print(f"{key}: {json.dumps(self._found[key])}", flush=True)
            if self._folder is not None:
                kept = {"facts": self._facts, "found": self._found, "commits": self._commits}
                _write(self._part(self._folder), json.dumps(kept) + "\n")
        return self._found[key]

    def attempt(self, key: str, measure: Callable[[], T]) -> tuple[T | None, str | None]:
        """Return `once` and None, or None and the reason why it failed; then free the memory it took."""
        found, failed = None, None
        try:
            found = self.once(key, measure)
        except Exception as error:  # the others are still measured
            failed = reason_of(error)[:500]
            print(f"{key}: failed: {failed}", flush=True)
        gc.collect()
        torch.compiler.reset()
        torch.cuda.empty_cache()
        return found, failed

    def finish(self, found: Mapping[str, Any], table: Callable[[dict[str, Any]], str]) -> None:
        """Print the table of the complete record and write the record; in results/, also draw its table."""
        document = {**found, "environment": environment(), "commits": self._commits}
        print(table(document))
        if self._folder is None:
            return
        _write(self._folder / f"{self._name}.json", json.dumps(document, indent=1) + "\n")
        self._part(self._folder).unlink(missing_ok=True)
        if self._folder.resolve() == COMMITTED.resolve():
            script = REPOSITORY / "scripts" / "make_figures.py"
            subprocess.run([sys.executable, script, "benchmark"], check=True)

    def _part(self, folder: Path) -> Path:
        return folder / f"{self._name}.part.json"


def _write(path: Path, content: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, content)


def measured_on(document: Mapping[str, Any], *details: str) -> str:
    """The last line of a table: where, how and when it was measured."""
    env = document["environment"]
    where = ", ".join((document["device"], *details, f"torch {env['torch']}", env["time"][:10]))
    commits = sorted({str(commit)[:7] for commit in document.get("commits", {}).values()})
    several = f"; commits {', '.join(commits)}" if len(commits) > 1 else ""
    rounds = document["rounds"]
    return f"Measured on {where}{several}; {'one round' if rounds == 1 else f'median of {rounds} rounds'}"


def threads_of(document: Mapping[str, Any]) -> str:
    return f"{document['threads']} thread{'s' * (document['threads'] > 1)}"
