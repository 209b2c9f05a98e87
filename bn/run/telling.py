"""How a run is going, in words: the same on the bar, in lines, in train.log and in the table of a sweep."""

import math
from collections.abc import Mapping

# In the order of preference where a network has several.
ACCURACIES = (
    "test/accuracy_population", "validation/accuracy_population", "test/accuracy", "validation/accuracy",
)  # fmt: skip
LOSS = "train/loss"
PACE = "train/images_per_second"


def numbers_told(latest: Mapping[str, float], left_s: float | None) -> list[str]:
    """What matters most of the `latest` logged numbers, the first first: accuracy, loss, time left, pace.

    What is not known yet is left out. `left_s`: seconds until the run ends.
    """
    told = []
    for name in ACCURACIES:
        if name in latest:
            told.append(f"accuracy {latest[name]:.2%}")
            break
    if LOSS in latest:
        told.append(f"loss {latest[LOSS]:.4g}")
    if left_s is not None:
        told.append(f"{duration(left_s)} left")
    if PACE in latest:
        told.append(f"{latest[PACE]:,.0f} images/s")
    return told


def duration(seconds: float) -> str:
    """0.4 s, 12 s, 3 min 20 s, 2 h 05 min, 3 d 04 h."""
    if not math.isfinite(seconds):
        return "unknown"
    if seconds < 9.95:
        return f"{max(seconds, 0.0):.1f} s"
    whole = round(seconds)
    for size, unit, smaller, name in ((86_400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            return f"{whole // size} {unit} {whole % size // smaller:02d} {name}"
    return f"{whole} s"
