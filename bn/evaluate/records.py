"""Records of evaluations: a JSON file for each, and a table of all records in a folder."""

import contextlib
import hashlib
import json
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bn.errors import UserError
from bn.files import Damaged, write_atomically
from bn.files import read_record as read_record_of

Z = 1.959964  # normal quantile of a 95% interval
NAME_LENGTH = 60
STATISTICS = {"moving": "moving averages", "population": "population statistics", "none": "no BN"}
SHAPE = {
    "n": int, "top1_correct": int, "top5_correct": int, "not_finite": int, "crops": int, "models": int,
    "statistics": frozenset(STATISTICS), "precision": str, "torch": str, "time": str,
    "data": {"name": str, "crop": int},
    "checkpoints": [{"path": str, "sha256": str, "name": str, "step": (int, type(None))}],
}  # fmt: skip
COLUMNS = (
    "networks", "data", "resolution", "crops", "models", "statistics", "top-1 error", "top-5 error", "record"
)  # fmt: skip


def record_path(folder: Path, names: Sequence[str], subject: Mapping[str, Any]) -> Path:
    """The path of the record of `subject`, which contains everything that the result depends on."""
    digest = hashlib.sha256(json.dumps(subject, sort_keys=True).encode()).hexdigest()[:12]
    name = re.sub(r"[^A-Za-z0-9._-]", "_", "-".join(dict.fromkeys(names)))[:NAME_LENGTH]
    size = f"{subject['models']}x{subject['crops']}"
    return folder / f"{name}__{size}__{subject['statistics']}__{digest}.json"


@contextlib.contextmanager
def write_errors(path: Path) -> Iterator[None]:
    """Turn an OSError in the block into a UserError that names `path`."""
    try:
        yield
    except OSError as error:
        raise UserError(f"{os.path.relpath(path)}: cannot be written ({error.strerror})") from error


def read_record(path: Path) -> dict[str, Any] | None:
    """Read a record, or return None if it does not exist. UserError if it is damaged."""
    record = read_record_of(path, SHAPE, "remove it")
    if record is not None:
        counts = (record["top1_correct"], record["top5_correct"], record["not_finite"])
        if record["n"] == 0 or max(counts) > record["n"]:
            raise Damaged(path, "impossible counts", "remove it")
    return record


def write_record(path: Path, record: Mapping[str, Any]) -> None:
    """Write the record, and rewrite table.md in its folder. UserError if this fails."""
    with write_errors(path):
        write_atomically(path, json.dumps(record, indent=2) + "\n")
        write_atomically(path.parent / "table.md", _table(path.parent))


def summary(record: Mapping[str, Any], path: Path) -> str:
    """One line: the networks, the data, the errors with 95% intervals, and the path of the record."""
    wrong = f"{record['not_finite']:,} images have NaN or infinite probabilities and count as wrong"
    parts = [
        f"{_networks(record)} on {record['n']:,} images of {record['data']['name']}",
        f"top-1 error {_error(record, 'top1_correct')}, top-5 error {_error(record, 'top5_correct')}",
        *([wrong] if record["not_finite"] else []),
        f"{_counted(record['crops'], 'crop')}, {_counted(record['models'], 'model')}, "
        f"{STATISTICS[record['statistics']]}",
        os.path.relpath(path),
    ]
    return "; ".join(parts)


def _table(folder: Path) -> str:
    rows = []
    for path in sorted(folder.glob("*__*.json")):
        try:
            record = read_record(path)
            assert record is not None
            rows.append(
                (
                    _networks(record), record["data"]["name"], record["data"]["crop"], record["crops"],
                    record["models"], STATISTICS[record["statistics"]], _error(record, "top1_correct"),
                    _error(record, "top5_correct"), f"[{path.stem.rpartition('__')[2]}]({path.name})",
                )
            )  # fmt: skip
        except UserError as error:
            print(f"{os.path.relpath(path)}: left out of the table ({error})", file=sys.stderr)
    rows.sort(key=lambda row: (row[1], row[4], row[3]))
    lines = [COLUMNS, ["---"] * len(COLUMNS), *rows]
    note = "Errors with 95% intervals (Wilson); the number of images is in the record."
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines) + f"\n\n{note}\n"


def _networks(record: Mapping[str, Any]) -> str:
    names = [
        each["name"] if each["step"] is None else f"{each['name']} at step {each['step']:,}"
        for each in record["checkpoints"]
    ]
    return ", ".join(
        f"{names.count(name)} x {name}" if names.count(name) > 1 else name for name in dict.fromkeys(names)
    )


def _error(record: Mapping[str, Any], key: str) -> str:
    """The error rate with its interval, such as "25.20% (24.82 to 25.58)"."""
    n = record["n"]
    low, high = interval(n - record[key], n)
    return f"{100 * (1 - record[key] / n):.2f}% ({100 * low:.2f} to {100 * high:.2f})"


def interval(count: int, n: int) -> tuple[float, float]:
    """Wilson's 95% interval for a probability, given `count` successes in `n` trials."""
    share = count / n
    center = share + Z**2 / (2 * n)
    half = Z * (share * (1 - share) / n + Z**2 / (4 * n**2)) ** 0.5
    scale = 1 + Z**2 / n
    return max(0.0, (center - half) / scale), min(1.0, (center + half) / scale)


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number > 1)}"
