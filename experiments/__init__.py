"""One module per figure or table of the paper: its claim, the runs it needs, how it is collected and drawn.

Each module has SWEEP (the file in configs/sweep with its runs), `collect(runs, folder)` (run directories ->
compact records in results/) and `draw(folder, out)` (records -> figures and tables).
"""

from types import ModuleType

from experiments import fair_comparison, figure1

EXPERIMENTS: dict[str, ModuleType] = {"figure1": figure1, "fair_comparison": fair_comparison}
