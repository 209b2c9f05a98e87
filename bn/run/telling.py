"""Which of the logged numbers say how a run is going, and times in words."""

import math

# In the order of preference where a network has several.
ACCURACIES = (
    "test/accuracy_population", "validation/accuracy_population", "test/accuracy", "validation/accuracy",
)  # fmt: skip
LOSS = "train/loss"
PACE = "train/images_per_second"


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
