"""Names of the main metrics, and how progress is formatted on the bar, in train.log and in sweeps."""

import math
from collections.abc import Mapping

# In order of preference.
ACCURACIES = (
    "test/accuracy_population", "validation/accuracy_population", "test/accuracy", "validation/accuracy",
)  # fmt: skip
LOSS = "train/loss"
THROUGHPUT = "train/images_per_second"


def format_metrics(latest: Mapping[str, float], left_s: float | None) -> list[str]:
    """Format accuracy, loss, time left and throughput, as far as they are known, the most important first.

    `latest`: the latest logged value of each metric. `left_s`: seconds until the run ends.
    """
    parts = [f"accuracy {latest[name]:.2%}" for name in ACCURACIES if name in latest][:1]
    if LOSS in latest:
        parts.append(f"loss {latest[LOSS]:.4g}")
    if left_s is not None:
        parts.append(f"{format_duration(left_s)} left")
    if THROUGHPUT in latest:
        parts.append(f"{latest[THROUGHPUT]:,.0f} images/s")
    return parts


def format_duration(seconds: float) -> str:
    """Format as 0.4 s, 12 s, 3 min 20 s, 2 h 05 min, 3 d 04 h."""
    if not math.isfinite(seconds):
        return "unknown"
    if seconds < 9.95:
        return f"{max(seconds, 0.0):.1f} s"
    whole = round(seconds)
    for size, unit, smaller, name in ((86_400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            return f"{whole // size} {unit} {whole % size // smaller:02d} {name}"
    return f"{whole} s"
