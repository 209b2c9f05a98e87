"""Select a typical unit of a layer. Imports no torch, so that reading records does not either."""

import numpy as np


def typical_unit(path: np.ndarray) -> int:
    """Return the index of a layer's "typical activation", by a fixed rule since the paper gives none (D).

    `path` (T, P, units) holds the layer's percentiles over training. The typical unit is the one nearest to
    the layer's median path (the median over units at each step), by the sum of squares over steps and
    percentiles.
    """
    median = np.median(path, axis=2, keepdims=True)
    return int(((path - median) ** 2).sum(axis=(0, 1)).argmin())
