"""The interface of a logger."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:  # not needed to check a config
    import numpy as np

    from bn.observe.observation import Histogram


class Logger(Protocol):
    """Receives named values of a run at increasing steps. Any call may raise: `Loggers` handles it.

    After a resume, the steps since the checkpoint are logged again, with the same values.
    """

    def log(self, numbers: Mapping[str, float], step: int) -> None: ...

    def log_histograms(self, histograms: Mapping[str, "Histogram"], step: int) -> None: ...

    def log_image(self, name: str, pixels: "np.ndarray", step: int) -> None:
        """`pixels`: (height, width, 3) uint8."""
        ...

    def finish(self, state: str, reason: str | None) -> None:
        """The run ended in `state` (one of bn/run/state.py) with the `reason` in status.json."""
        ...


def error_line(error: Exception) -> str:
    """Type and message of an error in one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())
