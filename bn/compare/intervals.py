"""Means over seeds with confidence intervals, and the step at which a curve reaches a level."""

from collections.abc import Sequence

import numpy as np
from scipy.special import stdtrit  # quantile of Student's t; scipy.stats takes a second to import


def mean_and_interval(values: Sequence[float]) -> tuple[float, float]:
    """The mean and the half-width of its 95% confidence interval (Student's t; nan for one value)."""
    n = len(values)
    mean = sum(values) / n
    if n == 1:
        return mean, float("nan")
    variance = sum((value - mean) ** 2 for value in values) / (n - 1)
    return mean, float(stdtrit(n - 1, 0.975)) * (variance / n) ** 0.5


def mean_text(values: Sequence[float], digits: int, sign: str = "") -> str:
    """Format mean and interval: "12.34 ± 0.56", or the value alone if there is one. `sign="+"`: signed."""
    mean, half = mean_and_interval(values)
    mean = round(mean, digits) + 0.0  # no -0.00
    return f"{mean:{sign},.{digits}f}" + (f" ± {half:,.{digits}f}" if len(values) > 1 else "")


def crossing(steps: np.ndarray, path: np.ndarray, level: float) -> float:
    """The step at which `path` first reaches `level`, interpolated linearly between evaluations.

    `steps` and `path` are (T,). `path` must reach `level`.
    """
    i = int((path >= level).argmax())
    if i == 0:
        return float(steps[0])
    share = (level - path[i - 1]) / (path[i] - path[i - 1])
    return float(steps[i - 1] + share * (steps[i] - steps[i - 1]))
