"""Runs as their directories tell: how each stands, and its config. A thousand are read in a second."""

import contextlib
import functools
import hashlib
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from bn.cluster.submission import FILE as SUBMISSION
from bn.cluster.submission import SHAPE as SUBMITTED
from bn.config import completed, flatten
from bn.data.idx_sets import IDX_SETS
from bn.errors import UserError
from bn.files import Damaged, parse_yaml, read_record
from bn.run.directory import NOT_COMPARED, REPOSITORY
from bn.run.state import RunState, find_runs, state_of

RUNS = REPOSITORY / "runs"
ID = re.compile(r"[0-9a-f]{6}")
KEY = re.compile(r"^(?=[A-Za-z])", re.MULTILINE)


class Run(NamedTuple):
    state: RunState
    config: dict[str, Any]  # flattened, with defaults of later keys and `debug`; empty where it is damaged

    @property
    def path(self) -> Path:
        return self.state.path

    @property
    def id(self) -> str:
        """Six hexadecimal digits, which stand for its path."""
        return id_of(self.path)

    def get(self, key: str) -> Any:
        """The value of a key of the config, of a group its name, or of a field of its state; or None."""
        if key in RunState._fields:
            return getattr(self.state, key)
        return self.config.get(key, self.config.get(f"{key}.name"))


def id_of(path: Path) -> str:
    return hashlib.sha256(os.path.abspath(path).encode(errors="surrogateescape")).hexdigest()[:6]


def runs_in(folders: Sequence[Path]) -> list[Run]:
    """The runs in these folders, each once, also where folders or runs are links."""
    paths = [path for folder in folders for path in find_runs(folder)]  # each once in each folder
    if len(folders) > 1:
        paths = list({path.resolve(): path for path in paths}.values())
    return [read_run(path) for path in paths]


def read_run(path: Path) -> Run:
    """A run; its experiment is the config's, since a copy may have any path."""
    state, config = state_of(path), config_of(path)
    if config:
        config["debug"] = debug_of(config)
    named = config.get("experiment")
    return Run(state._replace(experiment=named) if isinstance(named, str) else state, config)


def run_named(name: str) -> Run:
    """The run in this folder, with this name below runs/, or with this id.

    An id is looked for below runs/, or below the folder before it: `1a2b3c`, `FOLDER/1a2b3c`. UserError where
    there is no such run.
    """
    for path in (Path(name), RUNS / name):
        if path.is_dir():
            if (found := find_runs(path)) == [path]:
                return read_run(path)
            raise UserError(f"{name}: holds {len(found)} runs: accepted: the folder of one")
    folder, _, last = name.rpartition("/")
    if ID.fullmatch(last):
        found = [path for path in find_runs(Path(folder) if folder else RUNS) if id_of(path) == last]
        if len(found) == 1:
            return read_run(found[0])
        if found:
            raise UserError(f"{name}: the id of {len(found)} runs: accepted: {' or '.join(map(str, found))}")
    raise UserError(f"{name}: no such run; accepted: its folder, its name below runs/, or its id in the list")


def config_of(path: Path) -> dict[str, Any]:
    """The config of the run at `path`, flattened; of a run that has not started, the one submitted."""
    with contextlib.suppress(Damaged):
        saved = read_record(path / "config.yaml", dict, parse=_parse)
        if saved is None:
            saved = (read_record(path / SUBMISSION, SUBMITTED) or {}).get("config")
        if saved:
            return completed(saved)
    return {}


def _parse(text: str) -> dict[str, Any]:
    """As `parse_yaml`, several times as fast on many configs: what two have in common is parsed once.

    In a config as the program writes it, each key without indent begins a block that is a document by itself.
    """
    blocks = (_parse_block(block) or {} for block in KEY.split(text))
    return {key: value for block in blocks for key, value in block.items()}


_parse_block = functools.lru_cache(maxsize=10_000)(parse_yaml)


@functools.cache
def debug_choices() -> dict[str, dict[str, Any]]:
    """The choices of configs/debug, by name, and the keys that each sets."""
    files = sorted((REPOSITORY / "configs" / "debug").glob("*.yaml"))
    return {file.stem: flatten(parse_yaml(file.read_text())) for file in files}


def debug_of(config: Mapping[str, Any]) -> str:
    """The choice of configs/debug most of whose values a flattened config has, which has no key for it."""

    def share(name: str) -> float:
        given = debug_choices()[name]
        return sum(config.get(key) == value for key, value in given.items()) / max(1, len(given))

    name = max(debug_choices(), key=share)
    return name if share(name) > 0.5 else "none"


def makes_the_run(key: str, config: dict[str, Any]) -> bool:
    """Whether with another value of this key it is another run; as `bn.run.directory.is_compared`."""
    free = (*NOT_COMPARED, "data.root") if config.get("data.name") in IDX_SETS else NOT_COMPARED
    return not key.startswith(free)


def by_numbers(name: str) -> list[str | float]:
    """A key that sorts seed_2 before seed_10, and lr-0.03 before lr-0.1."""
    parts = re.split(r"(\d+(?:\.\d+)?(?:e-?\d+)?)", name)
    return [float(part) if i % 2 else part for i, part in enumerate(parts)]
