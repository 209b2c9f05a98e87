"""What a run leaves on disk, and how it stops and resumes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


def frame(*which: str | Path) -> pd.DataFrame:
    """Runs as a data frame: one row a logged step, with its numbers and, as columns, the keys of the config.

        bn.run.frame("runs", "experiment=mnist_bn", "optim.lr>=1", "state=done")

    `which`: folders (without any, runs/) and conditions, as on the command line of scripts/runs.py. Further
    columns: `run`, the path of its directory; `state`; `setting`, which runs share that differ only in the
    seed. A list of a config is a tuple here, and null is NaN. A row that is being written is left out; a run
    with a damaged record is left out with a warning. UserError for a folder or key that is not there.
    """
    from bn.compare.frame import frame as read  # imports pandas, which training does without

    return read(*which)
