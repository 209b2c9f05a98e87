"""The rules on optimizers, mini-batches and moving averages (section 3.1)."""

from pathlib import Path
from statistics import fmean

from experiments import batch_size, collected, moving_averages, optimizers, selection
from experiments.verdicts.judged import Judged, graded, rule


@rule(23)
def _any_variant(results: Path) -> Judged:
    means = []
    for name, module in (("optimizers", optimizers), ("batch_size", batch_size)):
        folder = results / name
        grid = selection.read(folder / selection.GRID, module.COLUMNS)
        means += [
            (case[-1], 100 * fmean(run.test for run in runs))
            for case, runs in selection.read_further(folder, module.COLUMNS, grid).items()
            if case[0] != "mnist_baseline"
        ]
    lowest = min(mean for _, mean in means)
    shown = ", ".join(
        f"{optimizers.OPTIMIZERS.get(name) or f'mini-batches of {int(name):,}'} {mean:.2f}"
        for name, mean in means
    )
    return graded(lowest > 95, lowest > 90, f"test accuracy (%): {shown}")


@rule(27)
def _moving_averages(results: Path) -> Judged:
    paths = moving_averages.read_paths(results / "moving_averages")
    apart = {rate: moving_averages.apart(values) for rate, (_, values) in paths.items()}
    close = {rate: fmean(differences) < 0.5 for rate, differences in apart.items()}
    shown = ", ".join(
        f"{collected.mean_text(differences, 2)} at learning rate {rate:g}"
        for rate, differences in apart.items()
    )
    return graded(all(close.values()), close[0.1], f"mean difference (points): {shown}")
