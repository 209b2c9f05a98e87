"""Run directories: records, checkpoints, resuming, signals and loggers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


def frame(*which: str | Path) -> pd.DataFrame:
    """Read runs into a data frame: one row per logged step, with its metrics and the config keys as columns.

        bn.run.frame("runs", "experiment=mnist_bn", "optim.lr>=1", "state=done")

    `which`: folders (default: runs/) and conditions, as on the command line of scripts/runs.py. Further
    columns: `run`, the path of its directory; `state`; `setting`, shared by runs that differ only in the
    seed. Lists of a config become tuples, and null becomes NaN. A row that is being written is left out; a
    run with a damaged record is left out with a warning. Raises UserError for an unknown folder or key.
    """
    from bn.compare.frame import frame as read  # imports pandas, which training does not need

    return read(*which)
