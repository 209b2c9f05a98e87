"""What a logger is."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:  # the command line checks loggers without them
    import numpy as np

    from bn.observe.observation import Histogram


class Logger(Protocol):
    """Takes what becomes known of a run, by name, at steps that rise. Any call may raise: see `Loggers`.

    After a resume the steps since the checkpoint come once more, with the same numbers.
    """

    def log(self, numbers: Mapping[str, float], step: int) -> None: ...

    def log_histograms(self, histograms: Mapping[str, "Histogram"], step: int) -> None: ...

    def log_image(self, name: str, pixels: "np.ndarray", step: int) -> None:
        """`pixels`: (height, width, 3) uint8."""
        ...

    def finish(self, state: str, reason: str | None) -> None:
        """The run ended in this state of bn/run/state.py; `reason` is the one in status.json."""
        ...
