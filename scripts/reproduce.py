"""Reproduce a figure: run what is missing, collect its records into results/, draw it.

    python scripts/reproduce.py figure1
    python scripts/reproduce.py fair_comparison hydra.launcher.n_jobs=4

Interrupted or killed, the same command goes on. What follows the name goes to train.py; it may say how and
where the runs are made, not what they are, since they replace the committed results.
"""

import argparse
import signal
import subprocess
import sys

from bn import launch
from bn.errors import UserError
from bn.records import REPOSITORY
from experiments import EXPERIMENTS
from experiments.committed import README, RESULTS, make, readme_with_tables

ALLOWED = ("hydra", "output=", "logger", "device=")


def main() -> None:
    names = sorted(name for name, experiment in EXPERIMENTS.items() if hasattr(experiment, "SWEEP"))
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", choices=names)
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="passed on to train.py")
    arguments = parser.parse_args()
    experiment = EXPERIMENTS[arguments.name]
    for override in arguments.overrides:
        if not override.startswith(ALLOWED):
            sys.exit(
                f"reproduce.py: {override}: accepted: {', '.join(ALLOWED)}...; for other runs, use train.py"
            )

    code = train([f"sweep={experiment.SWEEP}", *arguments.overrides])
    if code:
        sys.exit(code)
    try:
        runs = launch.planned_runs(experiment.SWEEP, arguments.overrides)
        experiment.collect(runs, RESULTS / arguments.name)
        make(arguments.name, experiment)
        README.write_text(readme_with_tables()[1])
    except UserError as error:
        sys.exit(f"reproduce.py: {error}")
    print(f"reproduce.py: results/{arguments.name} is up to date")


def train(arguments: list[str]) -> int:
    """The exit code of train.py, which is left the time to checkpoint when this command is stopped."""
    process = subprocess.Popen([sys.executable, str(REPOSITORY / "train.py"), *arguments])
    signal.signal(signal.SIGINT, lambda *_: None)  # a terminal's Ctrl-C reaches train.py as well
    signal.signal(signal.SIGTERM, lambda *_: process.terminate())
    code = process.wait()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    main()
