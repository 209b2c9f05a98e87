"""One module for each figure or table: its claim, the runs it needs, how they are collected and drawn.

Each module has `draw(folder, out)`, which turns records in results/ into figures and tables. If the records
come from training runs, it also has SWEEPS (files in configs/sweep, and the axes of each to replace) and
`collect(runs, folder)`, which turns directories of ended runs into records. If the trained networks are
evaluated again, `evaluations(runs)` returns the arguments of each evaluate.py command. If these records
determine further runs, `further_sweeps(folder)` returns their sweeps and axes, and
`collect_further(runs, folder)` adds their records.
"""

from types import ModuleType

from experiments import (
    ablation,
    adaptation,
    base_rate,
    batch_size,
    claims,
    covariate_shift,
    fair_comparison,
    fashion,
    figure1,
    figure2,
    figure3,
    figure4,
    figure5,
    groups,
    illustration,
    inception_adaptation,
    inception_percentiles,
    initial_weights,
    inside_inception,
    jacobians,
    lrn,
    moving_averages,
    optimizers,
    paper_rate,
    placement,
    rate_tolerance,
    regularization,
    saturation,
    weight_growth,
    what_came_after,
    whitening,
)

EXPERIMENTS: dict[str, ModuleType] = {
    "illustration": illustration,
    "figure1": figure1,
    "figure2": figure2,
    "figure3": figure3,
    "figure4": figure4,
    "figure5": figure5,
    "ablation": ablation,
    "lrn": lrn,
    "rate_tolerance": rate_tolerance,
    "paper_rate": paper_rate,
    "base_rate": base_rate,
    "inception_percentiles": inception_percentiles,
    "fair_comparison": fair_comparison,
    "placement": placement,
    "regularization": regularization,
    "whitening": whitening,
    "adaptation": adaptation,
    "inception_adaptation": inception_adaptation,
    "optimizers": optimizers,
    "batch_size": batch_size,
    "groups": groups,
    "moving_averages": moving_averages,
    "what_came_after": what_came_after,
    "fashion": fashion,
    "covariate_shift": covariate_shift,
    "saturation": saturation,
    "jacobians": jacobians,
    "weight_growth": weight_growth,
    "inside_inception": inside_inception,
    "initial_weights": initial_weights,
    "claims": claims,
}
