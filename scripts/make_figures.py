"""Draws the figures and tables of results/ from its records, and puts the tables into README.md and docs/.

    python scripts/make_figures.py            everything that has records
    python scripts/make_figures.py --check    change nothing; fail if one does not follow from its records

It needs no training and no network.
"""

import argparse
import sys

from bn.errors import Arguments, UserError
from experiments import EXPERIMENTS
from experiments.committed import PAGES, differences, has_records, make, page_with_tables


def main() -> None:
    parser = Arguments(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of {', '.join(EXPERIMENTS)}")
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    arguments = parser.parse_args()
    unknown = [name for name in arguments.names if name not in EXPERIMENTS]
    if unknown:
        parser.error(f"{unknown[0]}: unknown; accepted: {', '.join(EXPERIMENTS)}")
    names = arguments.names or [name for name in EXPERIMENTS if has_records(name, EXPERIMENTS[name])]
    try:
        found = [line for name in names for line in run(name, arguments.check)]
        pages = {page: page_with_tables(page) for page in PAGES}
    except UserError as error:
        sys.exit(f"make_figures.py: {error}")
    for page, (now, wanted) in pages.items():
        if now != wanted and arguments.check:
            found.append(f"{page}: a table is not the one in results/")
        elif now != wanted:
            page.write_text(wanted)
    if found:
        sys.exit("\n".join(f"make_figures.py: {line}" for line in found))


def run(name: str, check: bool) -> list[str]:
    if check:
        return differences(name, EXPERIMENTS[name])
    make(name, EXPERIMENTS[name])
    print(f"make_figures.py: results/{name}")
    return []


if __name__ == "__main__":
    main()
