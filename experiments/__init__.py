"""One module per figure or table of the paper: its claim, the runs it needs, how it is collected and drawn.

Each module has `draw(folder, out)` (records in results/ -> figures and tables), and where its records come
from training runs also SWEEP (the file in configs/sweep with its runs) and `collect(runs, folder)` (run
directories -> records).
"""

from types import ModuleType

from experiments import benchmark, fair_comparison, figure1

EXPERIMENTS: dict[str, ModuleType] = {
    "figure1": figure1,
    "fair_comparison": fair_comparison,
    "benchmark": benchmark,
}
