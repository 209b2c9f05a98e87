"""Lists the runs: state, step, accuracy, images per second, age, SLURM job and the reason of a failure.

    python scripts/runs.py                      all runs in runs/
    python scripts/runs.py --watch              repeatedly, until Ctrl-C
    python scripts/runs.py --state failed,lost
    python scripts/runs.py --experiment bn_x5,bn_x30 /scratch/me/runs

It reads only the run directories, during and after the training, on any machine that sees them.
"""

import argparse
import json
import os
import re
import shutil
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # this clone's code, whichever is installed

from bn.errors import Arguments, UserError, printable
from bn.run.directory import REPOSITORY
from bn.run.state import STATES, RunState, find_runs, state_of

EXPLAINED = f"""
states, in the order of the list: what needs attention comes last, above the counts
{chr(10).join(f"  {state:12} {meaning}" for state, meaning in STATES.items())}
  A lost run is detected at once on its own machine, and on others after a minute and a half. A job that was
  cancelled before it started stays queued in this list.

columns
  step         the latest recorded step; a killed run resumes from its last checkpoint
  accuracy     the latest, on the test images, or on the validation images if there are no others; at the
               end with the statistics of Algorithm 2, if the network has BN (--json: accuracy_of says which)
  images/s     training throughput at the last log
  age          time since the run was submitted (queued), touched its lock (lost) or was written (others)
"""
RUNS = REPOSITORY / "runs"
COLUMNS = ("state", "run", "step", "accuracy", "images/s", "age", "job")
TO_THE_LEFT = ("state", "run", "job")
RUN = COLUMNS.index("run")  # gives way where a terminal is narrow, down to
LEAST = 16
RED, GREEN, YELLOW, MAGENTA, CYAN, BOLD, FAINT = 31, 32, 33, 35, 36, 1, 2
COLOURS = {
    "state": BOLD, "done": GREEN, "diverged": MAGENTA, "queued": FAINT, "running": CYAN,
    "interrupted": YELLOW, "lost": RED, "failed": RED,
}  # fmt: skip


def main() -> None:
    parser = Arguments(
        description=__doc__, epilog=EXPLAINED, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "folders",
        nargs="*",
        type=Path,
        default=[RUNS],
        metavar="FOLDER",
        help="default: runs/",
    )
    parser.add_argument("--experiment", type=names, metavar="NAME[,NAME]", help="only these experiments")
    parser.add_argument("--state", type=names, metavar="NAME[,NAME]", help="only these states")
    form = parser.add_mutually_exclusive_group()
    form.add_argument(
        "--watch", type=seconds, nargs="?", const=5.0, metavar="SECONDS", help="list them every SECONDS (5)"
    )
    form.add_argument("--json", action="store_true", help="everything, one JSON object per line")
    arguments = parser.parse_args()
    try:
        check(arguments)
        if arguments.json:
            for run in chosen(arguments):
                print(json.dumps(run._asdict(), default=str))
        elif arguments.watch:
            watch(arguments)
        else:
            print(*listing(arguments), sep="\n")
        sys.stdout.flush()
    except UserError as error:
        sys.exit(f"runs.py: {error}")
    except KeyboardInterrupt:
        print()
    except BrokenPipeError:  # whoever reads this has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def names(text: str) -> list[str]:
    return text.split(",")


def seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text}: accepted: seconds > 0 (a FOLDER goes before --watch)")
    return value


def check(arguments: argparse.Namespace) -> None:
    """UserError for a folder that is not there, no such state, an experiment with neither config nor run."""
    for folder in arguments.folders:
        if not folder.is_dir() and folder != RUNS:  # which the first run makes
            raise UserError(f"{folder}: no such folder")
    experiments = {path.stem for path in (REPOSITORY / "configs" / "experiment").glob("*.yaml")}
    if not experiments.issuperset(arguments.experiment or ()):
        experiments |= {run.experiment for run in runs_in(arguments.folders)}
    for option, known in (("state", list(STATES)), ("experiment", sorted(experiments))):
        for name in getattr(arguments, option) or ():
            if name not in known:
                raise UserError(f"--{option}={name}: unknown; accepted: {', '.join(known)}")


def chosen(arguments: argparse.Namespace) -> list[RunState]:
    """The runs asked for, by state and by name."""
    order = list(STATES)
    runs = [
        run
        for run in runs_in(arguments.folders)
        if (arguments.state is None or run.state in arguments.state)
        and (arguments.experiment is None or run.experiment in arguments.experiment)
    ]
    return sorted(runs, key=lambda run: (order.index(run.state), by_numbers(str(run.path))))


def runs_in(folders: Sequence[Path]) -> list[RunState]:
    paths = {path.resolve(): path for folder in folders for path in find_runs(folder)}
    return [state_of(path) for path in paths.values()]


def by_numbers(name: str) -> list[str | float]:
    """A key that sorts seed_2 before seed_10, and lr-0.03 before lr-0.1."""
    parts = re.split(r"(\d+(?:\.\d+)?(?:e-?\d+)?)", name)
    return [float(part) if i % 2 else part for i, part in enumerate(parts)]


def watch(arguments: argparse.Namespace) -> None:
    """Until Ctrl-C, also while no run is left: the next member of a sweep may be about to start."""
    terminal = sys.stdout.isatty()
    print("\x1b[2J" if terminal else "", end="")
    while True:
        note = f" ({time.strftime('%H:%M:%S')}, every {arguments.watch:g} s)"
        *table, counts = listing(arguments, note)
        if terminal:  # over what is there, without a moment of nothing; of what is too long, the end
            room = max(1, shutil.get_terminal_size().lines - 3)
            shown = "".join(f"{line}\x1b[K\n" for line in (*table[:1], *table[1:][-room:], counts))
            print(f"\x1b[H{shown}\x1b[J", end="", flush=True)
        else:
            print(*table, counts, "", sep="\n", flush=True)
        time.sleep(arguments.watch)


def listing(arguments: argparse.Namespace, note: str = "") -> list[str]:
    """The table, and as the last line the counts; on a terminal no line is wider than that."""
    runs = chosen(arguments)
    terminal = sys.stdout.isatty()
    # One less than there are: on some terminals a full line wraps.
    width = shutil.get_terminal_size().columns - 1 if terminal else sys.maxsize
    start = arguments.folders[0] if len(arguments.folders) == 1 else None
    paths = [os.path.relpath(run.path, start) for run in runs]
    number = Counter(run.state for run in runs)
    counts = ", ".join(f"{number[state]} {state}" for state in STATES if number[state])
    last = f"{len(runs)} run{'s' * (len(runs) != 1)}{': ' * bool(runs)}{counts}{note}"
    return [*table(runs, paths, width, terminal and "NO_COLOR" not in os.environ), cut(last, width)]


def table(runs: Sequence[RunState], paths: Sequence[str], width: int, coloured: bool) -> list[str]:
    """A header and the lines of each run. A reason is the last column where there is room for all of them,
    and a line below its run where there is not."""
    if not runs:
        return []
    rows = [COLUMNS, *map(cells, runs, paths)]
    used = [i for i in range(len(COLUMNS)) if any(row[i] for row in rows[1:])]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    reasons = ["", *map(reason, runs)]
    if beside := sum(widths[i] + 2 for i in used) + max(map(len, reasons)) <= width:
        reasons[0] = "reason" * any(reasons)
    widths[RUN] = min(widths[RUN], max(LEAST, width - sum(widths[i] + 2 for i in used if i != RUN)))
    lines = []
    for row, why in zip(rows, reasons, strict=True):
        aligned = [align(row[i], widths[i], COLUMNS[i] in TO_THE_LEFT) for i in used]
        line = cut("  ".join([*aligned, why if beside else ""]).rstrip(), width)
        if coloured:
            end = len(row[0])
            line = f"\x1b[{COLOURS[row[0]]}m{line[:end]}\x1b[0m{line[end:]}"
        lines.append(line)
        if why and not beside:
            lines.append(cut(f"    {why}", width))
    return lines


def cells(run: RunState, name: str) -> tuple[str, ...]:
    """What COLUMNS shows of a run."""
    step = "" if run.step is None and run.steps is None else f"{run.step or 0:,}"
    pace = run.images_per_second
    return (
        run.state,
        printable(name),
        f"{step}/{run.steps:,}" if run.steps is not None else step,
        "" if run.accuracy is None else f"{run.accuracy:.2%}",
        "" if pace is None else f"{pace:,.0f}" if pace >= 100 else f"{pace:.1f}",
        "" if run.age is None else span(run.age),
        printable(run.job or ""),
    )


def reason(run: RunState) -> str:
    """And where a run's end is not its own, where to read on."""
    log = ""
    if run.log and run.state in ("lost", "failed"):
        log = f"; see {Path(run.log).with_suffix('.err')}"
    return printable(f"{run.reason or ''}{log}")


def span(seconds: float) -> str:
    for unit, size, end in (("s", 1, 100), ("m", 60, 6000), ("h", 3600, 172_800)):
        if seconds < end:
            return f"{seconds // size:.0f}{unit}"
    return f"{seconds // 86_400:.0f}d"


def align(text: str, width: int, left: bool) -> str:
    """To `width`; what is longer loses its middle: a name ends with what tells it from its neighbours."""
    if len(text) > width:
        head = (width - 1) // 2
        text = f"{text[:head]}…{text[head + 1 - width :]}"
    return text.ljust(width) if left else text.rjust(width)


def cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: max(width - 1, 0)]}…"


if __name__ == "__main__":
    main()
