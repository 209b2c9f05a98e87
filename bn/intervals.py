"""Means over seeds, and how certain they are."""

from collections.abc import Sequence

from scipy.stats import t as students_t


def mean_and_interval(values: Sequence[float]) -> tuple[float, float]:
    """The mean and the half-width of its 95% confidence interval (Student's t; nan for one value)."""
    n = len(values)
    mean = sum(values) / n
    if n == 1:
        return mean, float("nan")
    variance = sum((value - mean) ** 2 for value in values) / (n - 1)
    return mean, float(students_t.ppf(0.975, n - 1)) * (variance / n) ** 0.5
