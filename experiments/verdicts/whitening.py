"""The rules on whitening."""

from pathlib import Path

from experiments import collected, whitening
from experiments.verdicts.judged import NOT_CONFIRMED, Judged, clearly_above_one, graded, rule


@rule(9)
def _whitened_inputs(results: Path) -> Judged:
    groups = whitening.five_seeds(results / "whitening")
    ratios = whitening.times_fewer(groups["binary"], groups["whitened"])
    if ratios is None:
        return Judged(NOT_CONFIRMED, f"not all seeds reach {whitening.LEVEL:.0%}")
    return graded(
        clearly_above_one(ratios), collected.ratio_and_interval(ratios)[0] > 1,
        f"{collected.ratio_text(ratios)} times fewer steps with whitened than with raw inputs",
    )  # fmt: skip


@rule(13)
def _expensive(results: Path) -> Judged:
    costs = whitening.read_costs(results / "whitening")
    longer, tenth = (sum(cost.whitening_s > share * cost.layer_s for cost in costs) for share in (1.0, 0.1))
    return graded(
        longer > len(costs) / 2, tenth > len(costs) / 2,
        f"whitening takes longer than the layer in {longer} of {len(costs)} convolutions, more than a tenth "
        f"of its time in {tenth}",
    )  # fmt: skip
