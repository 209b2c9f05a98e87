"""Reads the state and config of runs from their directories, a thousand per second."""

import contextlib
import functools
import hashlib
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from bn.config import completed, flatten
from bn.config.idx_sets import IDX_SETS
from bn.errors import UserError
from bn.files import REPOSITORY, Damaged, parse_yaml, read_record
from bn.run.directory import NOT_COMPARED
from bn.run.state import RunState, find_runs, state_of
from bn.run.submission import FILE as SUBMISSION
from bn.run.submission import SHAPE as SUBMITTED

RUNS = REPOSITORY / "runs"
ID = re.compile(r"[0-9a-f]{6}")
KEY = re.compile(r"^(?=[A-Za-z])", re.MULTILINE)


class Run(NamedTuple):
    state: RunState
    config: dict[str, Any]  # flattened, with `debug` and defaults for newer keys; {} if damaged

    @property
    def path(self) -> Path:
        return self.state.path

    @property
    def id(self) -> str:
        """Six hexadecimal digits that identify its path."""
        return id_of(self.path)

    def get(self, key: str) -> Any:
        """The value of a state field or config key (a group has its name as value), or None."""
        if key in RunState._fields:
            return getattr(self.state, key)
        return self.config.get(key, self.config.get(f"{key}.name"))


def id_of(path: Path) -> str:
    return hashlib.sha256(os.path.abspath(path).encode(errors="surrogateescape")).hexdigest()[:6]


def runs_in(folders: Sequence[Path]) -> list[Run]:
    """The runs in these folders, each once, even through links."""
    paths = [path for folder in folders for path in find_runs(folder)]
    if len(folders) > 1:  # `find_runs` returns each run once
        paths = list({path.resolve(): path for path in paths}.values())
    return [read_run(path) for path in paths]


def read_run(path: Path) -> Run:
    """Read a run. The experiment is taken from its config, since a copy may have any path."""
    state, config = state_of(path), config_of(path)
    if config:
        config["debug"] = debug_of(config)
    named = config.get("experiment")
    return Run(state._replace(experiment=named) if isinstance(named, str) else state, config)


def find_run(name: str) -> Run:
    """The run with this folder, name below runs/, or id (`1a2b3c` in runs/, or `FOLDER/1a2b3c`).

    UserError if there is no such run.
    """
    for path in (Path(name), RUNS / name):
        if path.is_dir():
            if (found := find_runs(path)) == [path]:
                return read_run(path)
            raise UserError(f"{name}: contains {len(found)} runs; accepted: the folder of one")
    folder, _, last = name.rpartition("/")
    if ID.fullmatch(last):
        found = [path for path in find_runs(Path(folder) if folder else RUNS) if id_of(path) == last]
        if len(found) == 1:
            return read_run(found[0])
        if found:
            raise UserError(f"{name}: the id of {len(found)} runs; accepted: {' or '.join(map(str, found))}")
    raise UserError(f"{name}: no such run; accepted: its folder, its name below runs/, or its id in the list")


def config_of(path: Path) -> dict[str, Any]:
    """The flattened config of the run at `path`, or the submitted one before it starts."""
    with contextlib.suppress(Damaged):
        saved = read_record(path / "config.yaml", dict, parse=_parse)
        if saved is None:
            saved = (read_record(path / SUBMISSION, SUBMITTED) or {}).get("config")
        if saved:
            return completed(saved)
    return {}


def _parse(text: str) -> dict[str, Any]:
    """Like `parse_yaml`, but several times faster on many configs, whose common blocks are cached.

    In a config written by this program, each top-level key begins a block that is a valid document.
    """
    blocks = (_parse_block(block) or {} for block in KEY.split(text))
    return {key: value for block in blocks for key, value in block.items()}


_parse_block = functools.lru_cache(maxsize=10_000)(parse_yaml)


@functools.cache
def debug_choices() -> dict[str, dict[str, Any]]:
    """The choices of configs/debug and the keys that each sets."""
    files = sorted((REPOSITORY / "configs" / "debug").glob("*.yaml"))
    return {file.stem: flatten(parse_yaml(file.read_text())) for file in files}


def debug_of(config: Mapping[str, Any]) -> str:
    """The choice of configs/debug, inferred from most of its values since the config does not record it."""

    def share(name: str) -> float:
        given = debug_choices()[name]
        return sum(config.get(key) == value for key, value in given.items()) / max(1, len(given))

    name = max(debug_choices(), key=share)
    return name if share(name) > 0.5 else "none"


def identifies_run(key: str, config: dict[str, Any]) -> bool:
    """Whether another value of this key makes another run, as in `bn.run.directory.is_compared`."""
    free = (*NOT_COMPARED, "data.root") if config.get("data.name") in IDX_SETS else NOT_COMPARED
    return not key.startswith(free)


def natural_key(name: str) -> list[str | float]:
    """A sort key that puts seed_2 before seed_10, and lr-0.03 before lr-0.1."""
    parts = re.split(r"(\d+(?:\.\d+)?(?:e-?\d+)?)", name)
    return [float(part) if i % 2 else part for i, part in enumerate(parts)]
