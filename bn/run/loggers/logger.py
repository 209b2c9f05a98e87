"""What a logger is."""

from collections.abc import Mapping
from typing import Protocol


class Logger(Protocol):
    """Takes what becomes known of a run, by name, at steps that rise. Any call may raise: see `Loggers`.

    After a resume the steps since the checkpoint come once more, with the same numbers.
    """

    def log(self, numbers: Mapping[str, float], step: int) -> None: ...

    def finish(self, state: str, reason: str | None) -> None:
        """The run ended in this state of bn/run/state.py; `reason` is the one in status.json."""
        ...
