"""Makes the missing GPU measurements of docs/ and results/, in calls that may be cut short.

    python scripts/gpu_measurements.py --list               list all, their minutes, and which are missing
    python scripts/gpu_measurements.py first                make one, or several in sequence
    python scripts/gpu_measurements.py                      make all that are missing
    python scripts/gpu_measurements.py --device cpu --out FOLDER     rehearse without a GPU, in tiny sizes

Each measurement runs in its own process, so that nothing else uses the GPU. It writes a log and a growing
record into --out, from which the next call continues; records of earlier calls in measurements/ count too. If
the GPU machine has no network, scripts/gpu_wheels.py collects the packages it needs. When all are done, copy
the records to results/benchmark/ and run `python scripts/make_figures.py benchmark`. Trainings are run by
sweeps (docs/reproduce.md).
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # this clone's code, whichever is installed

from bn.errors import ArgumentParser
from bn.files import REPOSITORY, write_atomically
from bn.run.environment import processor
from bn.signals import end_with_parent

KEPT = REPOSITORY / "measurements"
DONE = "exit code 0"
# -vv prints each test as it ends, since a call may be cut short. Tests share the GPU, since compilation takes
# most of their time (over 90 s for a network). pytest-benchmark would warn about our options, an error here.
TESTS = (
    "-m", "pytest", "-vv", "-n", "8", "--dist", "load", "-p", "no:cacheprovider", "-p", "no:benchmark",
    "--durations=8",
)  # fmt: skip
COLLECT = ("-n", "0", "--collect-only")
GPU = ("-m", "gpu", "tests/integration/gpu", "tests/data/test_crops.py", "tests/evaluate/test_on_a_gpu.py")
COMPILED = "always or default"


class Measurement(NamedTuple):
    minutes: int  # expected on one H100 with 16 cores
    description: str
    command: tuple[str, ...]
    rehearsal: tuple[str, ...]
    record: str = ""  # name of the record in --out, besides the log; DEVICE stands for cpu or cuda


# In order of importance.
MEASUREMENTS = {
    "first": Measurement(
        1, "tests of capture, random states, resuming, waits and numbers, without compilation",
        (*TESTS, *GPU, "-k", f"not ({COMPILED})"),
        (*TESTS, *GPU, "-k", f"not ({COMPILED})", *COLLECT),
    ),
    "compiled": Measurement(
        6, "the same tests with compiled steps, and of the default path of scale=imagenet",
        (*TESTS, *GPU, "-k", COMPILED), (*TESTS, *GPU, "-k", COMPILED, *COLLECT),
    ),
    "parts": Measurement(
        8, "milliseconds of the parts of a step at 224, including DistributedDataParallel",
        ("benchmarks/parts.py", "--device", "cuda"), ("benchmarks/parts.py", "--tiny"), "parts-DEVICE",
    ),
    "images": Measurement(
        10, "images/s of Inception at 224, by precision, memory format, compiler and graph",
        ("benchmarks/inception.py", "--device", "cuda", "--batch", "256", "--rounds", "5", "--compiled"),
        ("benchmarks/inception.py", "--tiny", "--threads", "1"), "images-DEVICE",
    ),
    "data": Measurement(
        4, "images/s of the data loader, with the workers of 16 cores",
        ("benchmarks/loaders.py", "--device", "cuda", "--workers", "15", "--rounds", "3"),
        ("benchmarks/loaders.py", "--tiny"), "data-DEVICE",
    ),
    "steps": Measurement(
        2, "milliseconds per step of the MNIST network, and both trainings",
        ("benchmarks/mnist.py", "--device", "cuda", "--compiled"),
        ("benchmarks/mnist.py", "--tiny", "--no-full"), "DEVICE",
    ),
}  # fmt: skip


def main() -> None:
    parser = ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of {', '.join(MEASUREMENTS)}")
    parser.add_argument("--list", action="store_true", help="list the measurements")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--out", type=Path, default=KEPT, metavar="FOLDER", help="default: measurements/")
    arguments = parser.parse_args()
    if unknown := [name for name in arguments.names if name not in MEASUREMENTS]:
        parser.error(f"{unknown[0]}: unknown; accepted: {', '.join(MEASUREMENTS)}")
    out = arguments.out.resolve()
    missing = [name for name in MEASUREMENTS if not is_done(name, arguments.device, out)]
    if arguments.list:
        for name, one in MEASUREMENTS.items():
            state = "missing" if name in missing else "done"
            print(f"{name:9} {one.minutes:2} min  {state:7}  {one.description}")
        return
    if arguments.device == "cuda" and not torch.cuda.is_available():
        sys.exit("gpu_measurements.py: no CUDA device")
    continue_records(out)
    names = arguments.names or missing
    failed = [name for name in names if name in missing and not measure(name, arguments.device, out)]
    if failed:
        sys.exit(f"gpu_measurements.py: failed: {', '.join(failed)}; their logs: {out}")


def is_done(name: str, device: str, out: Path) -> bool:
    """Whether `out` or measurements/ has a complete log and the record."""
    record = MEASUREMENTS[name].record.replace("DEVICE", device)
    for folder in (out, KEPT):
        log = folder / f"{name}.txt"
        is_complete = log.exists() and log.read_text().rstrip().endswith(DONE)
        if is_complete and (not record or (folder / f"{record}.json").exists()):
            return True
    return False


def continue_records(out: Path) -> None:
    """Copy the unfinished records of earlier calls to `out`."""
    out.mkdir(parents=True, exist_ok=True)
    for part in KEPT.glob("*.part.json"):
        if not (out / part.name).exists():
            write_atomically(out / part.name, part.read_bytes())


def measure(name: str, device: str, out: Path) -> bool:
    one = MEASUREMENTS[name]
    command = [sys.executable, *(one.command if device == "cuda" else one.rehearsal)]
    if one.record:
        command += ["--save", str(out)]
    print(f"gpu_measurements.py: {name}, about {one.minutes} minutes: {' '.join(command[1:])}", flush=True)
    start = time.monotonic()
    with (out / f"{name}.txt").open("w") as log:

        def write(line: str) -> None:
            print(line, file=log, flush=True)
            print(line, flush=True)

        hardware = torch.cuda.get_device_name() if device == "cuda" else processor()
        write(f"{hardware}, torch {torch.__version__}")
        pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        with subprocess.Popen(command, cwd=REPOSITORY, preexec_fn=end_with_parent, **pipes) as process:
            assert process.stdout is not None
            for line in process.stdout:
                write(line.rstrip("\n"))
        write(f"{time.monotonic() - start:.0f} s, exit code {process.returncode}")
    return process.returncode == 0


if __name__ == "__main__":
    main()
