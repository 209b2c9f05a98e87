"""Lists, compares, draws and removes runs.

    python scripts/runs.py                      list all runs in runs/
    python scripts/runs.py --watch              repeatedly, until Ctrl-C
    python scripts/runs.py table                mean and confidence interval over the seeds of each setting
    python scripts/runs.py --help               the other subcommands: diff, plot, show, rm, gc

Each subcommand is a module of bn/compare; bn/compare/command.py has the options.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # this clone's code, whichever is installed

from bn.compare.command import main

if __name__ == "__main__":
    main()
