"""The data frame of runs."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bn.compare.filters import parse_selection, select_runs
from bn.compare.rows import readable, rows_of
from bn.compare.settings import settings


def frame(*which: str | Path) -> pd.DataFrame:
    """See `bn.run.frame`."""
    runs = select_runs(*parse_selection(map(str, which)))
    read, complaints = readable(runs, lambda run: rows_of(run.path))
    for line in complaints:
        warnings.warn(line, stacklevel=3)
    names = {run.path: group.name() for group in settings(runs) for run in group.runs}
    about = [
        {"run": str(run.path), "state": run.state.state, "setting": names.get(run.path),
         "experiment": run.state.experiment, **{key: hashable(value) for key, value in run.config.items()}}
        for run, _ in read
    ]  # fmt: skip
    rows = [row for _, found in read for row in found]
    numbers = pd.DataFrame(rows, columns=None if rows else ["step", "wall_s"])
    described = pd.DataFrame(about)
    texts = described.select_dtypes(exclude=["number", "bool"]).columns  # categories save most of the memory
    of_row = np.repeat(np.arange(len(read)), [len(found) for _, found in read])
    repeated = described.astype(dict.fromkeys(texts, "category")).take(of_row)
    return pd.concat([repeated.reset_index(drop=True), numbers], axis=1)


def hashable(value: Any) -> Any:
    """Convert lists to tuples, so that runs can be grouped by them."""
    return tuple(map(hashable, value)) if isinstance(value, list) else value
