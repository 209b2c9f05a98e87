"""The rules of experiments/claims.yaml, applied to the records in results/: one function for each claim.

A module here has the rules on one group of records, and registers them.
"""

from experiments.verdicts import (
    adaptation,
    batches,
    figure1,
    figures,
    inside,
    placement,
    regularization,
    whitening,
)
from experiments.verdicts.judged import CONFIRMED, NOT_CONFIRMED, PARTLY, RULES, Judged, clearly

__all__ = [
    "CONFIRMED",
    "NOT_CONFIRMED",
    "PARTLY",
    "RULES",
    "Judged",
    "adaptation",
    "batches",
    "clearly",
    "figure1",
    "figures",
    "inside",
    "placement",
    "regularization",
    "whitening",
]
