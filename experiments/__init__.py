"""One module for each figure or table: its claim, the runs it needs, how they are collected and drawn.

Each module has `draw(folder, out)`, which turns records in results/ into figures and tables. If the records
come from training runs, it also has SWEEPS (files in configs/sweep, and the axes of each to replace) and
`collect(runs, folder)`, which turns directories of ended runs into records. If the trained networks are
evaluated again, `evaluations(runs)` returns the arguments of each evaluate.py command. If these records
determine further runs, `further_sweeps(folder)` returns their sweeps and axes, and
`collect_further(runs, folder)` adds their records.
"""

from importlib import import_module
from types import ModuleType

EXPERIMENTS: dict[str, ModuleType] = {
    name: import_module(f"experiments.{name}")
    for name in (
        "illustration", "figure1", "figure2", "figure3", "figure4", "figure5", "ablation", "lrn",
        "rate_tolerance", "paper_rate", "base_rate", "inception_percentiles", "fair_comparison", "placement",
        "regularization", "whitening", "adaptation", "inception_adaptation", "optimizers", "batch_size",
        "groups", "moving_averages", "what_came_after", "fashion", "covariate_shift", "saturation",
        "jacobians", "weight_growth", "inside_inception", "initial_weights", "claims",
    )
}  # fmt: skip
