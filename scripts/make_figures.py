"""Draws the figures and tables of results/ from its records, and updates the tables in README.md and docs/.

    python scripts/make_figures.py            draw everything that has records
    python scripts/make_figures.py --check    change nothing; fail if a file differs from its records

It needs no training and no network.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # this clone's code, whichever is installed

from benchmarks import gpu_hours, run_hours, tables
from bn.errors import ArgumentParser, UserError, reason_of
from bn.files import write_atomically
from experiments import EXPERIMENTS
from experiments.drawing import PAGES, differences, has_records, make, page_with_tables

# Modules by their folder in results/.
DRAWN = {**EXPERIMENTS, "gpu_hours": gpu_hours, "run_hours": run_hours, "benchmark": tables}


def main() -> None:
    parser = ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of {', '.join(DRAWN)}")
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    arguments = parser.parse_args()
    unknown = [name for name in arguments.names if name not in DRAWN]
    if unknown:
        parser.error(f"{unknown[0]}: unknown; accepted: {', '.join(DRAWN)}")
    names = arguments.names or [name for name in DRAWN if has_records(name, DRAWN[name])]
    try:
        found = [line for name in names for line in run(name, arguments.check)]
        pages = {page: page_with_tables(page) for page in PAGES}
        for page, (now, wanted) in pages.items():
            if now != wanted and arguments.check:
                found.append(f"{page}: a table differs from results/")
            elif now != wanted:
                write_atomically(page, wanted)
    except (UserError, OSError) as error:
        sys.exit(f"make_figures.py: {reason_of(error)}")
    if found:
        sys.exit("\n".join(f"make_figures.py: {line}" for line in found))


def run(name: str, check: bool) -> list[str]:
    if check:
        return differences(name, DRAWN[name])
    make(name, DRAWN[name])
    print(f"make_figures.py: results/{name}")
    return []


if __name__ == "__main__":
    main()
