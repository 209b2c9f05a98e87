"""Runs the trainings of section 4.2 in parallel on a GPU available for minutes, and packs the results.

    python scripts/gpu_trainings.py --minutes 9 --out FOLDER                      all unfinished sweeps
    python scripts/gpu_trainings.py --minutes 9 --out FOLDER figure2 ablation     these, in this order
    python scripts/gpu_trainings.py "figure2 experiment=bn_x5" ablation           with an axis replaced
    python scripts/gpu_trainings.py --take FOLDER                                 unpack an earlier call

A step of scale=cifar10 has about 600 small kernels, which leave most of a large GPU idle. Many runs therefore
share it, with NVIDIA's Multi-Process Service (MPS) if available. Measured on an H200 with 16 cores: one
Inception trains at 9,253 images/s, fifteen in parallel at 33,226 (docs/speed.md). The runs of all sweeps form
one queue, so that the GPU stays busy. The sweep name `figure4` stands for the evaluations of Figure 4; each
starts when its networks are trained.

When the time is up, all runs are stopped and saved. FOLDER then contains, in files of at most 15 MiB, the
records (run directories without checkpoints, and evaluations), and the last checkpoints of unfinished runs
and of those that Figure 4 evaluates, the most advanced first, up to --mib. To continue, call with --take and
the same FOLDER first. For a machine without a network, scripts/gpu_wheels.py collects the packages.
"""

import argparse
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # this clone's code, whichever is installed

from bn import cli
from bn.errors import ArgumentParser
from bn.files import REPOSITORY, Damaged, atomic_file, read_record
from bn.run.checkpoint import list_checkpoints
from bn.run.directory import STATUS, RunDirectory
from bn.run.state import find_runs
from bn.signals import end_with_parent
from experiments import figure4

FIGURE4 = "figure4"
SWEEPS = (
    "ensemble", "figure2", FIGURE4, "ablation", "switches", "rate_tolerance", "paper_rate", "full_length",
)  # fmt: skip
PART_MIB = 15
GRACE_S = 25  # for saving all runs
POLL_S = 0.5
RUNS = REPOSITORY / "runs"


def main() -> None:
    parser = ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sweeps", nargs="*", default=SWEEPS, metavar="SWEEP", help="in configs/sweep")
    parser.add_argument("--minutes", type=float, default=9.0, help="total time, with packing (default: 9)")
    parser.add_argument("--jobs", type=int, help="parallel runs (default: number of cores minus one)")
    parser.add_argument("--scale", default="cifar10")
    parser.add_argument("--out", type=Path, default=REPOSITORY / "measurements", metavar="FOLDER")
    parser.add_argument("--mib", type=int, default=60, help="limit of packed checkpoints (default: 60)")
    parser.add_argument("--take", type=Path, metavar="FOLDER", help="only unpack FOLDER")
    arguments = parser.parse_args()
    if arguments.take:
        print(f"gpu_trainings.py: unpacked {unpack(arguments.take, REPOSITORY)} files into {RUNS}")
        return
    end = time.monotonic() + 60 * arguments.minutes - GRACE_S
    jobs = arguments.jobs or max(1, (os.cpu_count() or 2) - 1)
    waiting = waiting_commands(arguments.sweeps, arguments.scale)
    run_until(end, waiting, jobs, {**os.environ, **shared_gpu()})
    pack(RUNS, arguments.out, arguments.mib, figure4_runs(arguments.scale))


class Waiting(NamedTuple):
    """A command, and the runs that must be done before it starts."""

    command: list[str]
    needs: tuple[RunDirectory, ...] = ()

    @property
    def ready(self) -> bool:
        return all(run.status.get("state") == "done" for run in self.needs)


def waiting_commands(sweeps: Iterable[str], scale: str) -> Iterator[Waiting]:
    """Yield a command for each unfinished run, in the order of the sweeps."""
    seen = set()
    for sweep, *axes in (words.split() for words in sweeps):
        if sweep == FIGURE4:
            yield from evaluations(scale)
            continue
        for overrides in cli.planned_members(sweep, [*axes, f"scale={scale}"]):
            run = cli.planned_run(overrides)
            if run.path not in seen and not run.finished:
                yield Waiting([str(REPOSITORY / "train.py"), *overrides, "hydra.mode=RUN"])
            seen.add(run.path)


def evaluations(scale: str) -> Iterator[Waiting]:
    """Yield the evaluations of Figure 4, each with the networks it needs."""
    runs = figure4_runs(scale)
    for experiment, crops in figure4.EVALUATIONS:
        needs = tuple(run for run in runs if run.config.experiment == experiment)
        yield Waiting([str(REPOSITORY / "evaluate.py"), *figure4.evaluation(needs, crops)], needs)


def figure4_runs(scale: str) -> list[RunDirectory]:
    """The runs whose weights Figure 4 needs."""
    sweeps = figure4.SWEEPS.items()
    return [run for name, axes in sweeps for run in cli.planned_runs(name, [*axes, f"scale={scale}"])]


def run_until(end: float, waiting: Iterable[Waiting], jobs: int, environment: Mapping[str, str]) -> None:
    """Run the commands in order, `jobs` at a time, and stop all at `end` (time.monotonic).

    A command whose needs are not done is held back until they are.
    """
    running: list[subprocess.Popen[bytes]] = []
    coming, held, codes = iter(waiting), [], []
    try:
        while time.monotonic() < end:
            while len(running) < jobs and (ready := next_ready(coming, held)):
                print(f"gpu_trainings.py: {shlex.join(ready.command)}", flush=True)
                command = [sys.executable, *ready.command]
                running.append(subprocess.Popen(command, env=environment, preexec_fn=save_with_parent))
            if not running:
                break
            codes += [process.returncode for process in running if process.poll() is not None]
            left = [process for process in running if process.returncode is None]
            if len(left) < len(running):
                failed = sum(code != 0 for code in codes)
                also = f", {failed} of them failed" if failed else ""
                print(f"gpu_trainings.py: {len(codes)} have ended{also}; {len(left)} are running", flush=True)
            running = left
            time.sleep(POLL_S)
    finally:
        for process in running:
            process.send_signal(signal.SIGINT)
        deadline = time.monotonic() + GRACE_S - 5
        for process in running:
            try:
                process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def save_with_parent() -> None:
    """Let runs save and exit if this script is killed."""
    end_with_parent(signal.SIGTERM)


def next_ready(coming: Iterator[Waiting], held: list[Waiting]) -> Waiting | None:
    """The first command that is ready, from `held` or else from `coming`; others are appended to `held`."""
    for one in held:
        if one.ready:
            held.remove(one)
            return one
    for one in coming:
        if one.ready:
            return one
        held.append(one)
    return None


def shared_gpu() -> dict[str, str]:
    """Start MPS and return the environment variables that make processes use it; {} if it is unavailable."""
    control = shutil.which("nvidia-cuda-mps-control")
    if control is None:
        print("gpu_trainings.py: MPS is not installed: runs take turns on the GPU", flush=True)
        return {}
    folder = Path("/tmp/bn-mps")
    folder.mkdir(exist_ok=True)
    names = ("CUDA_MPS_PIPE_DIRECTORY", "CUDA_MPS_LOG_DIRECTORY")
    environment: dict[str, str] = dict.fromkeys(names, str(folder))
    try:
        subprocess.run([control, "-d"], env={**os.environ, **environment}, check=False, timeout=30)
        check = [sys.executable, "-c", "import torch; torch.ones(1, device='cuda').item()"]
        subprocess.run(check, env={**os.environ, **environment}, check=True, timeout=90)
    except (OSError, subprocess.SubprocessError) as error:
        print(f"gpu_trainings.py: MPS does not work ({error}): runs take turns on the GPU", flush=True)
        return {}
    return environment


def pack(runs: Path, out: Path, mib: int, evaluated: Sequence[RunDirectory] = ()) -> None:
    """Write records_<n>.tgz and checkpoints_<n>.tar to `out`, with paths relative to the repository.

    Of finished runs, only those `evaluated` later keep their checkpoint.
    """
    out.mkdir(parents=True, exist_ok=True)
    for old in (*out.glob("checkpoints_*.tar"), *out.glob("records_*.tgz")):
        old.unlink()
    found = find_runs(runs)
    records = [path for run in found for path in sorted(run.iterdir()) if path.is_file()]
    records += sorted((runs / "evaluations").glob("*.*"))
    for number, part in enumerate(parts(records, sum(path.stat().st_size for path in records))):
        write_archive(out / f"records_{number}.tgz", "w:gz", part, runs.parent)
    for number, part in enumerate(parts(wanted(found, evaluated), mib << 20)):
        write_archive(out / f"checkpoints_{number}.tar", "w:", part, runs.parent)


def write_archive(path: Path, mode: Literal["w:gz", "w:"], files: Iterable[Path], root: Path) -> None:
    with atomic_file(path) as content, tarfile.open(fileobj=content, mode=mode) as archive:
        for file in files:
            archive.add(file, file.relative_to(root))


def parts(paths: Iterable[Path], limit: int) -> list[list[Path]]:
    """Select `paths` up to `limit` bytes, in lists of at most PART_MIB each."""
    found: list[list[Path]] = []
    size = 0
    for path in paths:
        weight = path.stat().st_size
        if weight > limit:
            continue
        limit -= weight
        if not found or size + weight > PART_MIB << 20:
            found.append([])
            size = 0
        found[-1].append(path)
        size += weight
    return found


def wanted(runs: Sequence[Path], evaluated: Sequence[RunDirectory]) -> Iterator[Path]:
    """Yield the last checkpoint of each run that is unfinished or evaluated later, most advanced first."""
    steps = {}
    kept = {run.path for run in evaluated}
    for run in runs:
        try:
            status = read_record(run / "status.json", STATUS)
        except Damaged:
            status = None
        if status is None:
            continue
        ended = status["state"] in ("done", "diverged") and run not in kept
        if not ended and list_checkpoints(run / "checkpoints"):
            steps[run] = status["step"]
    for run in sorted(steps, key=lambda run: -steps[run]):
        yield list_checkpoints(run / "checkpoints")[-1]


def unpack(folder: Path, repository: Path) -> int:
    """Extract the archives that `pack` wrote to `folder` into `repository`; return the number of files."""
    count = 0
    for path in sorted((*folder.glob("records_*.tgz"), *folder.glob("checkpoints_*.tar"))):
        with tarfile.open(path) as archive:
            archive.extraction_filter = getattr(tarfile, "data_filter", None)  # since Python 3.10.12, 3.11.4
            archive.extractall(repository)
            count += len(archive.getmembers())
    return count


if __name__ == "__main__":
    main()
