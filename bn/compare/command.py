"""The command line of scripts/runs.py: its subcommands and their options."""

import argparse
import functools
import importlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from bn.errors import ArgumentParser, UserError
from bn.run.state import STATES

PROGRAM = "runs.py"
DESCRIPTION = """Lists, compares, draws and removes runs. It reads only the run directories, during and after
the training, on any machine that sees them. --help prints this page.

    python scripts/runs.py                          list all runs in runs/
    python scripts/runs.py --watch                  repeatedly, until Ctrl-C
    python scripts/runs.py state=failed,lost
    python scripts/runs.py table experiment=mnist_bn 'optim.lr>=1' --level 0.9,0.95
    python scripts/runs.py diff mnist_bn/default/seed_0 mnist_bn/optim.lr-1.0/seed_0
    python scripts/runs.py plot --x wall --out curves.png
    python scripts/runs.py plot --percentiles experiment=mnist_bn
    python scripts/runs.py show mnist_bn/default/seed_0
    python scripts/runs.py gc

Which runs
  FOLDER      with runs anywhere below it, any number of them; default: runs/
  CONDITION   KEY=VALUE[,VALUE], KEY!=VALUE[,VALUE], and in quotes, because of the shell, 'KEY>=NUMBER',
              'KEY>NUMBER', 'KEY<=NUMBER', 'KEY<NUMBER'; a run must meet all. KEY is one of config.yaml, such
              as optim.lr, or a field of `list --json`, such as step, accuracy (a share of 1), age (seconds),
              or debug: none, fast, overfit, profile
  RUN         the folder of one run, or its name below runs/, or its id, as the list shows them; the id of a
              run elsewhere after a folder that holds it: FOLDER/ID
"""
STATES_EXPLAINED = f"""
states, in the order of the list: what needs attention comes last, above the counts
{chr(10).join(f"  {state:12} {meaning}" for state, meaning in STATES.items())}
  A lost run is detected at once on its own machine, and on others after a minute and a half. A job that was
  cancelled before it started stays queued in this list.

columns of the list
  id           in place of the name, where there is less room: it stands for the run's folder
  step         the latest recorded, or as a share of all (trained); a killed run resumes from a checkpoint
  accuracy     the latest, on the test images, or on the validation images if there are no others; at the
               end with the statistics of Algorithm 2, if the network has BN (--json: accuracy_of says which)
  age          time since the run was submitted (queued), last seen alive (lost) or written (others)
  others       the keys in which runs of one experiment differ; what debug=fast and its like set is left out
"""


def names(text: str) -> list[str]:
    return text.split(",")


def numbers(text: str) -> list[float]:
    return [float(part) for part in text.split(",")]


class Subcommand(NamedTuple):
    module: str  # of bn.compare, whose `main` does it
    what: str
    options: dict[str, dict[str, Any]]  # what `add_argument` takes


WHICH = {"nargs": "*", "metavar": "FOLDER|CONDITION", "help": "which runs (default: all in runs/)"}
RUN = {"metavar": "RUN", "help": "which run"}
FLAG = {"action": "store_true"}
YES = {**FLAG, "help": "do not ask"}
NAMES = {"type": names, "metavar": "NAME[,NAME]"}
SUBCOMMANDS = {
    "list": Subcommand("listing", "How each run stands; the default, so that `list` need not be typed.", {
        "what": WHICH,
        "--sort": {"metavar": "COLUMN", "help": "by a column or a key (default: state, then run)"},
        "--watch": {**FLAG, "help": "every 5 seconds, until Ctrl-C"},
        "--json": {**FLAG, "help": "everything, one JSON object per line"},
        "--csv": {**FLAG, "help": "everything but what all configs have in common"},
    }),
    "table": Subcommand("table", "Mean and interval over the seeds of each setting.", {
        "what": WHICH,
        "--value": {**NAMES, "help": "logged numbers (default: the accuracy)"},
        "--level": {"type": numbers, "default": [], "metavar": "X[,X]",
                    "help": "steps until the first value reaches X"},
        "--csv": {**FLAG, "help": "CSV, with accuracies as shares of 1"},
    }),
    "diff": Subcommand("difference", "In what two runs differ, and where their curves part.", {
        "runs": {**RUN, "nargs": 2},
    }),
    "plot": Subcommand("plot", "Draws logged numbers, or percentiles as in Figure 1(b, c).", {
        "what": WHICH,
        "--y": {**NAMES, "help": "logged numbers, a panel each (default: the accuracy)"},
        "--x": {"choices": ("step", "epoch", "images", "wall"), "help": "default: step"},
        "--log": {"choices": ("x", "y", "xy"), "help": "logarithmic axes"},
        "--percentiles": {**FLAG,
                          "help": "instead of these, of the inputs to the nonlinearities"},
        "--layer": {**NAMES, "help": "of --percentiles (default: all)"},
        "--out": {"type": Path, "default": Path("runs.png"), "metavar": "FILE",
                  "help": "FILE.png, FILE.svg or FILE.pdf (default: runs.png)"},
        "--watch": {**FLAG, "help": "again every 5 seconds, until Ctrl-C"},
    }),
    "show": Subcommand("page", "Everything about one run.", {"run": RUN}),
    "rm": Subcommand("removal", "Removes runs, once you say yes; never one that is running.", {
        "runs": {**RUN, "nargs": "+"},
        "--yes": YES,
    }),
    "gc": Subcommand("leftovers", "Removes what kills and failed attempts leave, once you say yes.", {
        "what": WHICH,
        "--yes": YES,
    }),
}  # fmt: skip


def main() -> None:
    try:
        run(sys.argv[1:])
        sys.stdout.flush()
    except UserError as error:
        sys.exit(f"{PROGRAM}: {error}")
    except KeyboardInterrupt:
        print()
    except BrokenPipeError:  # whoever reads this has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def run(words: Sequence[str]) -> None:
    if {"-h", "--help"} & set(words):
        print(help_page(), flush=True)
        sys.exit(0)
    name, words = (words[0], words[1:]) if words and words[0] in SUBCOMMANDS else ("list", words)
    arguments = parser_of(name).parse_intermixed_args(words)
    importlib.import_module(f"bn.compare.{SUBCOMMANDS[name].module}").main(arguments)


def parser_of(name: str) -> ArgumentParser:
    form = functools.partial(argparse.HelpFormatter, max_help_position=28, width=100)
    what, options = SUBCOMMANDS[name][1:]
    parser = ArgumentParser(f"{PROGRAM} {name}", description=what, add_help=False, formatter_class=form)
    for option, settings in options.items():
        parser.add_argument(option, **settings)
    return parser


def help_page() -> str:
    """One page for all subcommands."""
    pages = (parser_of(name).format_help() for name in SUBCOMMANDS)
    return "\n".join([DESCRIPTION, *pages, STATES_EXPLAINED])
