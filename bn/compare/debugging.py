"""Which choice of configs/debug a run was made with, as its config tells: that has no key for it."""

import functools
from collections.abc import Mapping
from typing import Any

from bn.config import flatten
from bn.files import parse_yaml
from bn.run.directory import REPOSITORY

NONE = "none"


@functools.cache
def choices() -> dict[str, dict[str, Any]]:
    """The choices of configs/debug, by name, and the keys that each sets."""
    files = sorted((REPOSITORY / "configs" / "debug").glob("*.yaml"))
    return {file.stem: flatten(parse_yaml(file.read_text())) for file in files}


def debug_of(config: Mapping[str, Any]) -> str:
    """The choice most of whose values a flattened config has; none where it has half of no choice's."""

    def share(name: str) -> float:
        given = choices()[name]
        return sum(config.get(key) == value for key, value in given.items()) / max(1, len(given))

    name = max(choices(), key=share)
    return name if share(name) > 0.5 else NONE
