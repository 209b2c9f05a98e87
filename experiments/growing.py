"""A benchmark's record that grows in a file: an interrupted benchmark loses only the current measurement."""

import argparse
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from bn.files import read_record, write_whole
from experiments import benchmark
from experiments.committed import RESULTS, make

T = TypeVar("T")
COMMITTED = RESULTS / "benchmark"


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--save", nargs="?", const=COMMITTED, type=Path, metavar="FOLDER",
        help="write to results/benchmark/, or to FOLDER, where the next start continues an interrupted one",
    )  # fmt: skip
    parser.add_argument("--tiny", action="store_true", help="rehearse in seconds; the numbers mean nothing")


class Growing:
    """`<folder>/<name>.part.json` until all is measured, then `<name>.json`. Without a folder, no file.

    What another device or other `facts` gave is not taken up.
    """

    def __init__(self, folder: Path | None, name: str, facts: Mapping[str, Any]) -> None:
        self._folder = folder
        self._name = name
        self._facts = dict(facts)
        self._found: dict[str, Any] = {}
        if folder is not None:
            shape = {"facts": dict, "found": dict}
            kept = read_record(self._part(folder), shape, "remove it to measure anew")
            self._found = kept["found"] if kept and kept["facts"] == self._facts else {}

    def once(self, key: str, measure: Callable[[], T]) -> T:
        """What was kept under `key`, else what `measure` gives, which is kept and printed."""
        if key not in self._found:
            self._found[key] = measure()
            print(f"{key}: {json.dumps(self._found[key])}", flush=True)
            if self._folder is not None:
                self._folder.mkdir(parents=True, exist_ok=True)
                write_whole(
                    self._part(self._folder), json.dumps({"facts": self._facts, "found": self._found}) + "\n"
                )
        return self._found[key]

    def finish(self, document: Mapping[str, Any]) -> None:
        """Write the whole record; in results/, also the table drawn from it."""
        if self._folder is None:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        write_whole(self._folder / f"{self._name}.json", json.dumps(document, indent=1) + "\n")
        self._part(self._folder).unlink(missing_ok=True)
        if self._folder.resolve() == COMMITTED.resolve():
            make("benchmark", benchmark)

    def _part(self, folder: Path) -> Path:
        return folder / f"{self._name}.part.json"
