"""Time SLURM's overhead for a member of a sweep: the launcher and the records.

    python scripts/slurm/throwaway_cluster.py python benchmarks/slurm.py --save
    python benchmarks/slurm.py hydra.launcher.partition=short            on your own cluster

The runs have one step, so nearly all of their time is overhead. The contenders are a run as its own command,
the members of two sweeps of different sizes, one at a time (the difference is the cost of one more member),
and a job that does nothing. Arguments after the options go to train.py.
"""

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # this clone's code, whichever is installed

from benchmarks.scaffold import COMMITTED, IncrementalRecord, measured_on, options
from bn import cli
from bn.files import REPOSITORY
from bn.run.code_state import code_state
from bn.run.device import device_name, select_device
from bn.run.directory import RunDirectory
from bn.run.submission import check_submission, record_job, record_submission
from bn.signals import end_with_parent

RUN = ("experiment=mnist_bn", "steps=1", "probe.examples=60", "evaluate.population_batches=1", "device=cpu")
FEW, MANY = 2, 8  # members
ALONE = "a run as a command of its own"
MEMBER = "a member more of a sweep on SLURM, one at a time"


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--save", action="store_const", const=COMMITTED, help="write results/benchmark/")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE")
    arguments = parser.parse_args()
    found: dict[str, list[float]] = {}
    (REPOSITORY / "runs").mkdir(exist_ok=True)  # visible to the nodes, unlike /tmp
    with tempfile.TemporaryDirectory(dir=REPOSITORY / "runs", prefix=".benchmark-") as name:
        for i in range(arguments.rounds):
            for what, seconds in one_round(Path(name) / str(i), arguments.overrides).items():
                found.setdefault(what, []).append(seconds)
        records = cost_of_records(Path(name))
    document: dict[str, Any] = {
        "kind": "cluster",
        "seconds": {what: statistics.median(values) for what, values in found.items()},
        "records_ms": {what: 1000 * seconds for what, seconds in records.items()},
        "rounds": arguments.rounds,
        "device": device_name(select_device("cpu")),
        "slurm": output_of("sinfo", "--version"),
    }
    IncrementalRecord(arguments.save, "cluster-cpu", {}).finish(document, table)


def one_round(folder: Path, overrides: list[str]) -> dict[str, float]:
    """Seconds of each contender."""
    alone = timed(lambda: train([*RUN, f"output={folder}/alone"]))
    idle = timed(lambda: output_of("sbatch", "--wait", "--output=/dev/null", "--wrap", "true"))
    submitted, few = sweep(folder / "few", FEW, overrides)
    _, many = sweep(folder / "many", MANY, overrides)
    return {
        ALONE: alone,
        "a job that does nothing, from sbatch to its end": idle,
        MEMBER: (many - few) / (MANY - FEW),
        f"from the command to the array in the queue, {FEW} members": submitted,
    }


def sweep(folder: Path, members: int, overrides: list[str]) -> tuple[float, float]:
    """Seconds from the command to the submission, and to its end."""
    seeds = ",".join(map(str, range(members)))
    own = ["hydra.launcher.gpus_per_node=null", "hydra.launcher.cpus_per_task=1", "hydra.launcher.mem_gb=1"]
    command = [*RUN, f"seed={seeds}", f"output={folder}", "hydra/launcher=slurm", *own]
    began = time.perf_counter()
    process = subprocess.Popen(
        train_command(["-m", *command, "hydra.launcher.array_parallelism=1", *overrides]),
        stdout=subprocess.PIPE, text=True, preexec_fn=end_with_parent,
    )  # fmt: skip
    assert process.stdout is not None
    submitted = next(time.perf_counter() for line in process.stdout if " submitted as job " in line)
    process.communicate()
    if process.returncode:
        sys.exit(f"slurm.py: the sweep ended with exit code {process.returncode}")
    return submitted - began, time.perf_counter() - began


def cost_of_records(folder: Path) -> dict[str, float]:
    """Seconds of each record: per job, or as often as its name says."""
    config = cli.planned_run([*RUN, f"output={folder}"]).config
    run = RunDirectory(folder / "records", config)
    code = code_state()

    def once() -> None:
        record_submission(run, code)
        record_job(run, "1", folder)

    costs = {
        "submission: record the code's state and the config": median_of(lambda: (code_state(), once())),
        "start: compare both with what is there": median_of(lambda: check_submission(run, "1")),
        "start: open the run directory": median_of(lambda: (run.open(), run.close())),
    }
    run.open()
    run.start(0, {"type": "cpu"})
    costs["each status (start, saves, end)"] = median_of(lambda: run.set_status("running", 0))
    costs["each logged step"] = median_of(lambda: run.log({"step": 1, "train/loss": 2.3}))
    run.close()
    return costs


def median_of(work: Callable[[], object], times: int = 20) -> float:
    return statistics.median(timed(work) for _ in range(times))


def timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def train(arguments: list[str]) -> None:
    command = train_command(arguments)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, preexec_fn=end_with_parent)


def train_command(arguments: list[str]) -> list[str]:
    return [sys.executable, str(REPOSITORY / "train.py"), *arguments]


def output_of(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def table(document: dict[str, Any]) -> str:
    """Seconds of a run of one step in each way, and milliseconds of each record."""
    seconds = document["seconds"]
    alone, member = seconds[ALONE], seconds[MEMBER]
    return "\n".join([
        "| a run of one step of MNIST | seconds |",
        "|---|--:|",
        *(f"| {what} | {value:.2f} |" for what, value in seconds.items()),
        "",
        "| records of a job | ms |",
        "|---|--:|",
        *(f"| {what} | {milliseconds:.3g} |" for what, milliseconds in document["records_ms"].items()),
        "",
        f"A member of a sweep takes {member - alone:.1f} s more on SLURM than the same run on its own.",
        f"{measured_on(document, document['slurm'] + ' on the same machine')}, records of 20.",
    ]) + "\n"  # fmt: skip


if __name__ == "__main__":
    main()
