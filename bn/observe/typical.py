"""One typical unit of a layer. No torch here, which the reading of records does without."""

import numpy as np


def typical_unit(path: np.ndarray) -> int:
    """The declared rule for "one typical activation" (the paper does not say how it was chosen).

    `path` (T, P, units): the percentile paths of a layer. The unit whose paths are nearest, in the sum of
    squares over steps and percentiles, to the layer's median paths (the median over units at each step).
    """
    median = np.median(path, axis=2, keepdims=True)
    return int(((path - median) ** 2).sum(axis=(0, 1)).argmin())
