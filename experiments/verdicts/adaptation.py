"""The rule on another domain."""

from pathlib import Path
from statistics import fmean

from experiments import adaptation, collected
from experiments.adaptation import COUNTED, ORIGINAL
from experiments.verdicts.judged import Judged, graded, rule


@rule(77)
def _statistics_adapt(results: Path) -> Judged:
    found = adaptation.read(results / "adaptation")
    shares = {name: adaptation.recovered(found[name], found[ORIGINAL]) for name in COUNTED}
    more_than_half = sum(fmean(share) > 0.5 for share in shares.values())
    shown = ", ".join(f"{name} {collected.mean_text(share, 2)}" for name, share in shares.items())
    return graded(
        more_than_half > len(COUNTED) / 2,
        more_than_half >= 1,
        f"share of the lost accuracy that new statistics recover: {shown}",
    )
