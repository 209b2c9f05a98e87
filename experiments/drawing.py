"""Drawing from results/, and checking that the committed figures and tables follow from their records."""

import hashlib
import json
import platform
import re
import tempfile
import traceback
import zlib
from collections.abc import Container
from importlib.metadata import version
from pathlib import Path
from types import ModuleType

from bn.errors import UserError, reason_of
from bn.files import REPOSITORY, Damaged, read_record, write_atomically
from experiments import style

RESULTS = REPOSITORY / "results"
PAGES = (REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md")))  # may embed tables
DRAWN = "drawn.json"
SHAPE = {"with": str, "records": str, "figures": dict}
AGAIN = "restore them, or collect them again with python scripts/reproduce.py"
_BLOCK = re.compile(r"(<!-- begin (\S+) -->\n).*?(<!-- end -->)", re.DOTALL)


def has_records(name: str, experiment: ModuleType, results: Path = RESULTS) -> bool:
    """Whether the experiment has records to draw from (its runs may not have been collected yet)."""
    return not hasattr(experiment, "SWEEPS") or (results / name).exists()


def make(name: str, experiment: ModuleType, results: Path = RESULTS) -> None:
    """Draw one experiment's figures and tables beside its records."""
    folder = results / name
    made = _draw(folder, experiment)
    folder.mkdir(parents=True, exist_ok=True)
    for path, content in made.items():
        write_atomically(folder / path, content)
    drawn = {
        "with": drawn_with(),
        "records": _records_digest(folder, made),
        "figures": {path: _digest(content) for path, content in sorted(made.items())},
    }
    write_atomically(folder / DRAWN, json.dumps(drawn, indent=1) + "\n")


def differences(name: str, experiment: ModuleType, results: Path = RESULTS) -> list[str]:
    """One line for each committed figure or table that does not follow from its records.

    Everything is redrawn and compared byte by byte. Another version of matplotlib draws different bytes; then
    only tables are compared, and figures are checked to be the ones that were drawn from these records.
    """
    folder = results / name
    made = _draw(folder, experiment)
    try:
        drawn = read_record(folder / DRAWN, SHAPE)
    except Damaged as error:
        return [str(error)]
    if drawn is None:
        return [f"{folder / DRAWN}: missing"]
    same_library = drawn["with"] == drawn_with()
    found = []
    if drawn["records"] != _records_digest(folder, made):
        found.append(f"{folder}: the records are not the ones the figures were drawn from")
    for path, content in sorted(made.items()):
        try:
            committed = (folder / path).read_bytes()
        except OSError:
            found.append(f"{folder / path}: missing")
            continue
        if same_library or path.endswith(".md"):
            if committed != content:
                found.append(f"{folder / path}: does not follow from the records")
        elif _digest(committed) != drawn["figures"].get(path):
            found.append(f"{folder / path}: is not the figure drawn from the records")
    return found


def page_with_tables(page: Path, results: Path = RESULTS) -> tuple[str, str]:
    """The page as it is, and with each `<!-- begin results/... -->` block filled from the file it names."""

    def fill(match: re.Match) -> str:
        path = results.parent / match[2]
        if not path.exists():
            raise UserError(f"{page.name}: names {match[2]}, which is missing")
        return f"{match[1]}{path.read_text().rstrip()}\n{match[3]}"

    text = page.read_text()
    return text, _BLOCK.sub(fill, text)


def drawn_with() -> str:
    """The versions on which the bytes of a figure depend besides the records."""
    versions = [f"{name} {version(name)}" for name in ("matplotlib", "pillow", "fonttools", "numpy")]
    return ", ".join((*versions, f"zlib {zlib.ZLIB_RUNTIME_VERSION}", platform.system(), platform.machine()))


def _draw(folder: Path, experiment: ModuleType) -> dict[str, bytes]:
    """The files that `experiment` draws. UserError if changed records cannot be drawn."""
    with tempfile.TemporaryDirectory() as made, style.applied():
        try:
            experiment.draw(folder, Path(made))
        except UserError:
            raise
        except Exception as error:
            if (changed := _changed_records(folder.parent)) is None:
                raise
            *_, (frame, line) = traceback.walk_tb(error.__traceback__)
            where = f"{Path(frame.f_code.co_filename).name}, line {line}"
            why = f"records that cannot be drawn: {reason_of(error)} in {where}"
            raise Damaged(changed, why, AGAIN) from error
        return {path.name: path.read_bytes() for path in Path(made).iterdir()}


def _changed_records(results: Path) -> Path | None:
    """The first folder whose records have changed since its figures were drawn; None if there is none."""
    for path in sorted(results.glob(f"*/{DRAWN}")):
        drawn = read_record(path, SHAPE)
        if drawn["records"] != _records_digest(path.parent, drawn["figures"]):
            return path.parent
    return None


def _records_digest(folder: Path, made: Container[str]) -> str:
    """The digest of all files in the folder that are not drawn from the others."""
    records = sorted(
        path
        for path in folder.iterdir()
        if path.name not in made and path.name != DRAWN and path.suffix != ".part"
    )
    return _digest(b"".join(path.name.encode() + b"\0" + path.read_bytes() for path in records))


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
