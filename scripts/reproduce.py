"""Reproduce a figure: run what is missing, collect its records into results/, draw it.

    python scripts/reproduce.py figure1
    python scripts/reproduce.py fair_comparison hydra.launcher.n_jobs=4

What follows the name goes to train.py.
"""

import argparse
import subprocess
import sys

from bn import launch
from bn.errors import UserError
from bn.records import REPOSITORY
from experiments import EXPERIMENTS
from experiments.committed import README, RESULTS, make, readme_with_tables


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", choices=sorted(EXPERIMENTS))
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="passed on to train.py")
    arguments = parser.parse_args()
    experiment = EXPERIMENTS[arguments.name]

    command = [
        sys.executable,
        str(REPOSITORY / "train.py"),
        f"sweep={experiment.SWEEP}",
        *arguments.overrides,
    ]
    code = subprocess.run(command).returncode
    if code:
        sys.exit(code)
    try:
        experiment.collect(
            launch.planned_runs(experiment.SWEEP, arguments.overrides), RESULTS / arguments.name
        )
        make(arguments.name, experiment)
        README.write_text(readme_with_tables()[1])
    except UserError as error:
        sys.exit(f"reproduce.py: {error}")
    print(f"reproduce.py: results/{arguments.name} is up to date")


if __name__ == "__main__":
    main()
