"""The command line of scripts/runs.py: its subcommands and their options."""

import argparse
import functools
import importlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from bn.errors import ArgumentParser, UserError, reason_of
from bn.run.state import STATES
from bn.run.streams import print_any_text

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
  FOLDER      a folder with runs anywhere below it; may be repeated; default: runs/
  CONDITION   KEY=VALUE[,VALUE], KEY!=VALUE[,VALUE], or, in quotes because of the shell, 'KEY>=NUMBER',
              'KEY>NUMBER', 'KEY<=NUMBER', 'KEY<NUMBER'; a run must meet all conditions. KEY is a key of
              config.yaml, such as optim.lr, a field of `list --json`, such as step, accuracy (a share of 1)
              or age (seconds), or debug: none, fast, overfit, profile
  RUN         the folder of a run, its name below runs/, or its id, as shown in the list; outside runs/, an
              id follows a folder that contains the run: FOLDER/ID
"""
STATES_EXPLAINED = f"""
states, in the order of the list: runs that need attention come last, above the counts
{chr(10).join(f"  {state:12} {meaning}" for state, meaning in STATES.items())}
  A lost run is detected at once on its own machine, and within a minute and a half on others. A job that was
  cancelled before it started stays queued in this list.

columns of the list
  id           replaces the name in a narrow terminal; identifies the run's folder
  step         the latest recorded, or its share of all (trained); a killed run resumes from a checkpoint
  accuracy     the latest on the test images, or on the validation images if there are no test images; at the
               end with the statistics of Algorithm 2, if the network has BN (--json: see accuracy_of)
  age          time since the run was submitted (queued), last seen alive (lost) or last written (others)
  others       the keys in which runs of one experiment differ, except those set by debug=fast and the like
"""


def names(text: str) -> list[str]:
    return text.split(",")


def numbers(text: str) -> list[float]:
    return [float(part) for part in text.split(",")]


class Subcommand(NamedTuple):
    module: str  # in bn.compare; its `main` is called
    description: str
    options: dict[str, dict[str, Any]]  # arguments of `add_argument`


WHICH = {"nargs": "*", "metavar": "FOLDER|CONDITION", "help": "runs to select (default: all in runs/)"}
RUN = {"metavar": "RUN", "help": "a run"}
FLAG = {"action": "store_true"}
YES = {**FLAG, "help": "do not ask for confirmation"}
NAMES = {"type": names, "metavar": "NAME[,NAME]"}
SUBCOMMANDS = {
    "list": Subcommand("listing", "Lists runs with their state. The default: `list` may be omitted.", {
        "what": WHICH,
        "--sort": {"metavar": "COLUMN", "help": "sort by a column or key (default: state, then run)"},
        "--watch": {**FLAG, "help": "repeat every 5 seconds, until Ctrl-C"},
        "--json": {**FLAG, "help": "print all fields, one JSON object per run"},
        "--csv": {**FLAG, "help": "print all fields except keys with the same value in all runs"},
    }),
    "table": Subcommand("table", "Prints mean and confidence interval over the seeds of each setting.", {
        "what": WHICH,
        "--value": {**NAMES, "help": "logged numbers (default: accuracy)"},
        "--level": {"type": numbers, "default": [], "metavar": "X[,X]",
                    "help": "also print the steps until the first number reaches X"},
        "--csv": {**FLAG, "help": "print CSV, with accuracies as shares of 1"},
    }),
    "diff": Subcommand("diff", "Shows how two runs differ, and where their curves diverge.", {
        "runs": {**RUN, "nargs": 2},
    }),
    "plot": Subcommand("plot", "Plots logged numbers, or percentiles as in Figure 1(b, c).", {
        "what": WHICH,
        "--y": {**NAMES, "help": "logged numbers, one panel each (default: accuracy)"},
        "--x": {"choices": ("step", "epoch", "images", "wall"), "help": "default: step"},
        "--log": {"choices": ("x", "y", "xy"), "help": "logarithmic axes"},
        "--percentiles": {**FLAG, "help": "plot percentiles of the inputs to the nonlinearities"},
        "--layer": {**NAMES, "help": "layers for --percentiles (default: all)"},
        "--out": {"type": Path, "default": Path("runs.png"), "metavar": "FILE",
                  "help": "FILE.png, FILE.svg or FILE.pdf (default: runs.png)"},
        "--watch": {**FLAG, "help": "redraw every 5 seconds, until Ctrl-C"},
    }),
    "show": Subcommand("show", "Shows everything about one run.", {"run": RUN}),
    "rm": Subcommand("removal", "Removes runs after confirmation. Running ones are refused.", {
        "runs": {**RUN, "nargs": "+"},
        "--yes": YES,
    }),
    "gc": Subcommand("leftovers", "Removes leftovers of kills and failed attempts after confirmation.", {
        "what": WHICH,
        "--yes": YES,
    }),
}  # fmt: skip


def main() -> None:
    print_any_text()
    try:
        run(sys.argv[1:])
        sys.stdout.flush()
    except UserError as error:
        sys.exit(f"{PROGRAM}: {error}")
    except KeyboardInterrupt:
        print()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes stdout again at exit
        if not isinstance(error, BrokenPipeError):  # the reader has exited
            sys.exit(f"{PROGRAM}: {reason_of(error)}")


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
    """A single help page for all subcommands."""
    pages = (parser_of(name).format_help() for name in SUBCOMMANDS)
    return "\n".join([DESCRIPTION, *pages, STATES_EXPLAINED])
