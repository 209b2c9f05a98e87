"""The command line of scripts/runs.py: its subcommands and their options."""

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from bn.compare.filters import Condition, folders_and_conditions
from bn.errors import Arguments, UserError
from bn.run.state import STATES

PROGRAM = "runs.py"
DESCRIPTION = """Lists, compares, draws and removes runs. It reads only the run directories, during and after
the training, on any machine that sees them. --help prints this page.

    python scripts/runs.py                          list all runs in runs/
    python scripts/runs.py --watch                  repeatedly, until Ctrl-C
    python scripts/runs.py --state failed,lost
    python scripts/runs.py table experiment=mnist_bn 'optim.lr>=1' --level 0.9,0.95
    python scripts/runs.py diff mnist_bn/default/seed_0 mnist_bn/optim.lr-1.0/seed_0
    python scripts/runs.py plot --x wall --out curves.png
    python scripts/runs.py plot --percentiles experiment=mnist_bn
    python scripts/runs.py show mnist_bn/default/seed_0

Which runs
  FOLDER      with runs anywhere below it, any number of them; default: runs/
  CONDITION   KEY=VALUE[,VALUE], KEY!=VALUE[,VALUE], and in quotes, because of the shell, 'KEY>=NUMBER',
              'KEY>NUMBER', 'KEY<=NUMBER', 'KEY<NUMBER'; a run must meet all. KEY is one of config.yaml, such
              as optim.lr, or a field of `list --json`, such as step, accuracy (a share of 1), age (seconds),
              or debug: none, fast, overfit, profile
  RUN         the folder of one run, or its name below runs/, or its id, as the list shows them; the id of a
              run elsewhere after a folder that holds it: FOLDER/ID
  --state NAME[,NAME] and --experiment NAME[,NAME] are conditions whose names are checked.
"""
STATES_EXPLAINED = f"""
states, in the order of the list: what needs attention comes last, above the counts
{chr(10).join(f"  {state:12} {meaning}" for state, meaning in STATES.items())}
  A lost run is detected at once on its own machine, and on others after a minute and a half. A job that was
  cancelled before it started stays queued in this list.

columns of the list
  id           where there is no room for names: six hexadecimal digits that stand for the run's folder
  step         the latest recorded step; a killed run resumes from its last checkpoint
  trained      the same as a share of all steps, where there is less room
  accuracy     the latest, on the test images, or on the validation images if there are no others; at the
               end with the statistics of Algorithm 2, if the network has BN (--json: accuracy_of says which)
  images/s     training throughput at the last log
  age          time since the run was submitted (queued), last seen alive (lost) or written (others)
  others       the keys in which runs of one experiment differ; what debug=fast and its like set is left out
"""
# The module of each subcommand, and what it does.
SUBCOMMANDS = {
    "list": ("listing", "how each run stands; the default, so that `list` need not be typed"),
    "table": ("table", "mean and interval over the seeds of each setting, as Markdown or CSV"),
    "diff": ("difference", "config, code and environment of two runs, and where their curves part"),
    "plot": (
        "plot",
        "draws logged numbers, one colour for each setting, or percentiles as Figure 1(b, c)",
    ),
    "show": ("page", "everything about one run"),
    "rm": ("removal", "removes the runs that are named, once you say yes; never one that is running"),
}


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
    if "what" in arguments:
        arguments.folders, arguments.conditions = which(arguments.what)
    importlib.import_module(f"bn.compare.{SUBCOMMANDS[name][0]}").main(arguments)


def which(words: Sequence[str]) -> tuple[list[Path], list[Condition]]:
    """`folders_and_conditions` of the words; where one is nothing, the subcommands too."""
    try:
        return folders_and_conditions(words)
    except UserError as error:
        if str(error).endswith("no such folder") and words[0].isalpha():
            raise UserError(f"{error}, and no subcommand ({', '.join(SUBCOMMANDS)})") from None
        raise


def help_page() -> str:
    """One page for all subcommands."""
    pages = []
    for name, (_, what) in SUBCOMMANDS.items():
        _, _, options = parser_of(name).format_help().partition("options:\n")
        pages.append(f"{name}: {what}\n  {PROGRAM} {name} {USAGE[name]}\n{options}")
    return "\n".join([DESCRIPTION, *pages, STATES_EXPLAINED])


def parser_of(name: str) -> argparse.ArgumentParser:
    """Of a subcommand: its own options, and how runs are chosen for it."""
    parser = Arguments(prog=PROGRAM, add_help=False, formatter_class=Columns)
    if name in ("list", "table", "plot"):
        add_which(parser)
    OPTIONS[name](parser)
    return parser


class Columns(argparse.HelpFormatter):
    """All options in one column, whatever the terminal."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=28, width=100)


def add_which(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("what", nargs="*", metavar="FOLDER|CONDITION", help=argparse.SUPPRESS)
    parser.add_argument("--experiment", type=names, metavar="NAME[,NAME]", help=argparse.SUPPRESS)
    parser.add_argument("--state", type=names, metavar="NAME[,NAME]", help=argparse.SUPPRESS)


def add_watch(parser: argparse._ActionsContainer, what: str) -> None:
    parser.add_argument(
        "--watch", type=seconds, nargs="?", const=5.0, metavar="SECONDS", help=f"{what} every SECONDS (5)"
    )


def list_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--sort", metavar="COLUMN", help="by a column or a key (default: state, then run)")
    parser.add_argument("--reverse", action="store_true", help="in the opposite order")
    form = parser.add_mutually_exclusive_group()
    add_watch(form, "list them")
    form.add_argument("--json", action="store_true", help="everything, one JSON object per line")
    form.add_argument("--csv", action="store_true", help="everything but what all configs have in common")


def table_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--value", type=names, metavar="NAME[,NAME]", help="logged numbers (default: the accuracy)"
    )
    parser.add_argument(
        "--level", type=numbers, default=[], metavar="X[,X]", help="steps until the first value reaches X"
    )
    parser.add_argument("--csv", action="store_true", help="CSV, accuracies as shares of 1")


def diff_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("runs", nargs=2, metavar="RUN", help=argparse.SUPPRESS)


def plot_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--y", type=names, metavar="NAME[,NAME]", help="logged numbers, a panel each (default: the accuracy)"
    )
    parser.add_argument(
        "--x", choices=("step", "epoch", "images", "wall"), default="step", help="default: step"
    )
    parser.add_argument("--log", choices=("x", "y", "xy"), default="", help="logarithmic axes")
    parser.add_argument(
        "--percentiles", action="store_true",
        help="of the inputs to the nonlinearities, a panel for each setting, as in Figure 1(b, c)",
    )  # fmt: skip
    parser.add_argument(
        "--layer", type=names, metavar="NAME[,NAME]", help="of --percentiles (default: the last)"
    )
    parser.add_argument(
        "--out", type=Path, default=Path("runs.png"), metavar="FILE",
        help="FILE.png, FILE.svg or FILE.pdf (default: runs.png)",
    )  # fmt: skip
    add_watch(parser, "draw it again")


def show_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help=argparse.SUPPRESS)


def rm_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("runs", nargs="+", metavar="RUN", help=argparse.SUPPRESS)
    parser.add_argument("--yes", action="store_true", help="do not ask")


OPTIONS = {
    "list": list_options, "table": table_options, "diff": diff_options, "plot": plot_options,
    "show": show_options, "rm": rm_options,
}  # fmt: skip
CHOICE = "[FOLDER|CONDITION ...] [--experiment NAME[,NAME]] [--state NAME[,NAME]]"
USAGE = {
    "list": f"{CHOICE}\n      [--sort COLUMN] [--reverse] [--watch [SECONDS] | --json | --csv]",
    "table": f"{CHOICE}\n      [--value NAME[,NAME]] [--level X[,X]] [--csv]",
    "diff": "RUN RUN",
    "plot": f"{CHOICE}\n      [--y NAME[,NAME]] [--x step|epoch|images|wall] [--log x|y|xy]"
    "\n      [--percentiles] [--layer NAME[,NAME]] [--out FILE] [--watch [SECONDS]]",
    "show": "RUN",
    "rm": "RUN [RUN ...] [--yes]",
}  # fmt: skip


# The types of options.


def names(text: str) -> list[str]:
    return text.split(",")


def numbers(text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text}: accepted: numbers, such as 0.9,0.95") from None


def seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text}: accepted: seconds > 0 (a FOLDER goes before --watch)")
    return value
