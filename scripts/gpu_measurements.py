"""Every GPU measurement that README.md and results/ still lack, in one go and resumable.

    python scripts/gpu_measurements.py

What results/ already holds is left out; what is missing is measured, each in a process of its own, so that a
session cut short goes on with the next. Commit what it writes. Trainings are left to the sweeps, whose
commands are in README.md.
"""

import argparse
import subprocess
import sys

import torch

from bn.records import REPOSITORY

# What it makes, and the command that makes it.
MEASUREMENTS = {
    "results/benchmark/cuda.json": ["scripts/benchmark.py", "--device", "cuda", "--compiled", "--save"],
    "results/benchmark/images-cuda.json": [
        "scripts/benchmark_images.py", "--device", "cuda", "--batch", "256", "--compiled", "--save"
    ],
    "results/benchmark/data-cuda.json": [
        "scripts/benchmark_data.py", "--device", "cuda", "--workers", "16", "--save"
    ],
    "results/benchmark/gpu_tests.txt": ["-m", "pytest", "-m", "gpu", "-p", "no:cacheprovider"],
}  # fmt: skip


def main() -> None:
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    if not torch.cuda.is_available():
        sys.exit("gpu_measurements.py: no CUDA device here")
    failed = []
    for made, command in MEASUREMENTS.items():
        path = REPOSITORY / made
        if path.exists():
            print(f"gpu_measurements.py: {made} is there")
            continue
        print(f"gpu_measurements.py: {made} ...", flush=True)
        done = subprocess.run([sys.executable, *command], cwd=REPOSITORY, capture_output=True, text=True)
        if done.returncode:
            failed.append(made)
            print(done.stdout[-2000:], done.stderr[-2000:], sep="\n", file=sys.stderr)
        elif not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{torch.cuda.get_device_name()}, torch {torch.__version__}\n{done.stdout}")
    if failed:
        sys.exit(f"gpu_measurements.py: failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
