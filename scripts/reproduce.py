"""Reproduces a figure: runs missing trainings and evaluations, collects records into results/, and draws it.

    python scripts/reproduce.py figure1
    python scripts/reproduce.py fair_comparison hydra.launcher.n_jobs=4
    python scripts/reproduce.py figure2 scale=imagenet
    python scripts/reproduce.py figure2 --collect     use only ended runs: no training, no evaluation
    python scripts/reproduce.py fair_comparison --further-only

If the command is interrupted or killed, the same command continues. Arguments after the name are passed to
train.py. They may set how, where and at what scale runs are trained, but not change them otherwise, because
the runs replace the committed results. The fair comparison has further runs with the settings selected by its
first runs; --further-only trains only those.
"""

import argparse
import signal
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # this clone's code, whichever is installed

from bn import cli
from bn.errors import ArgumentParser, UserError, reason_of
from bn.files import REPOSITORY, write_atomically
from bn.run.directory import RunDirectory
from bn.signals import end_with_parent
from experiments import EXPERIMENTS
from experiments.drawing import PAGES, RESULTS, make, page_with_tables

ALLOWED = ("hydra", "output=", "logger", "device=", "scale=", "data.root=")


def main() -> None:
    names = sorted(name for name, experiment in EXPERIMENTS.items() if hasattr(experiment, "SWEEPS"))
    parser = ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=names)
    parser.add_argument("--collect", action="store_true", help="train nothing; use the runs that have ended")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="passed on to train.py")
    parser.add_argument(
        "--further-only", action="store_true", help="use the records of the first runs in results/"
    )
    arguments = parser.parse_intermixed_args()
    experiment = EXPERIMENTS[arguments.name]
    for override in arguments.overrides:
        if not override.startswith(ALLOWED):
            sys.exit(
                f"reproduce.py: {override}: accepted: {', '.join(ALLOWED)}...; for other runs, use train.py"
            )

    has_further = hasattr(experiment, "further_sweeps")
    if arguments.further_only and not has_further:
        sys.exit(f"reproduce.py: --further-only: {arguments.name} has no further runs")

    folder = RESULTS / arguments.name
    try:
        runs = []
        if not arguments.further_only:
            runs = runs_of(experiment.SWEEPS.items(), arguments)
            if hasattr(experiment, "evaluations") and not arguments.collect:
                device = [override for override in arguments.overrides if override.startswith("device=")]
                for chosen in experiment.evaluations(runs):
                    run("evaluate.py", [*chosen, *device])
            experiment.collect(runs, folder)
        if has_further:
            further = runs_of(experiment.further_sweeps(folder), arguments)
            experiment.collect_further(further, folder)
            runs = [*runs, *further]
        make(arguments.name, experiment)
        for page in PAGES:
            now, wanted = page_with_tables(page)
            if now != wanted:
                write_atomically(page, wanted)
    except (UserError, OSError) as error:
        sys.exit(f"reproduce.py: {reason_of(error)}")
    ended = sum(run_directory.finished for run_directory in runs)
    count = f"{ended} of its {len(runs)} run directories have ended"
    print(f"reproduce.py: results/{arguments.name} is up to date: {count}")


def runs_of(sweeps: Iterable[tuple[str, Sequence[str]]], arguments: argparse.Namespace) -> list[RunDirectory]:
    """The runs of these sweeps, each a name and its replaced axes. Trains them unless --collect."""
    runs = []
    for sweep, axes in sweeps:
        chosen = [*axes, *arguments.overrides]
        if not arguments.collect:
            run("train.py", [f"sweep={sweep}", *chosen])
        runs += cli.planned_runs(sweep, chosen)
    return runs


def run(entry: str, arguments: list[str]) -> None:
    """Run train.py or evaluate.py, forwarding signals so that it can save. Exit with its code if not 0."""
    process = subprocess.Popen(
        [sys.executable, str(REPOSITORY / entry), *arguments],
        preexec_fn=lambda: end_with_parent(signal.SIGTERM),
    )
    signal.signal(signal.SIGINT, lambda *_: None)  # Ctrl-C in a terminal also reaches the child
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: process.terminate())
    code = process.wait()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    if code:
        sys.exit(code if code > 0 else 128 - code)


if __name__ == "__main__":
    main()
