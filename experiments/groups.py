"""Statistics in groups of a mini-batch (section 3.1): does the size of the mini-batch matter, or that of the
sample which BN takes mean and variance from?

    python scripts/reproduce.py groups     5 cases: a grid of 4 rates, then 5 further seeds
                                           (configs/sweep/groups_60.yaml, groups_1000.yaml)

In `batch_size` the two are the same. Here the network of Figure 1 trains in mini-batches of 60 and of 1,000,
whose groups of 2, 10 and 250 examples are normalized each by its own statistics (`model.norm=ghost`): the
gradient is that of the mini-batch, the statistics are those of the group. Beside them stand whole
mini-batches of 2, 10, 60, 250 and 1,000, the records of `batch_size`. Measured numbers, with n:
results/groups/table.md.

Decided before the runs, at the scale of `batch_size` (210,000 examples, Algorithm 2 over 18,000, the distance
of training from inference over 10,000; a grid of one seed on held-out examples, then n = 5 further seeds):

- The rates are the three of the whole mini-batch of the same size, and one a factor of three below them,
  because mini-batches of 2 took the lowest of theirs.
- The distance between training and inference follows the group if, in each of the five cases, its mean over
  the seeds is nearer (as a ratio) to that of whole mini-batches of the group's size than to that of whole
  mini-batches of the same size; it does so in part if that holds in most of the cases, else not.
- Groups cost accuracy in a case if the 95% interval of the difference to the whole mini-batch of the same
  size, seed by seed, lies below zero; they gain if it lies above; otherwise the runs do not tell.
- Mini-batches of 2, which end near 63%, fail because of their statistics if mini-batches of 60 and of 1,000
  in groups of 2 end below 90% too, and because of their noisy gradient if both end above 90%; else the runs
  do not tell.
- Claim 23 is about whole mini-batches. Its rule does not use these numbers.
"""

from collections.abc import Sequence
from pathlib import Path

from bn.config import Config, MlpModel
from bn.run.directory import RunDirectory
from experiments import chosen, collected
from experiments.batch_size import GAP

GROUPS = {60: (2, 10), 1000: (2, 10, 250)}  # of each size of a mini-batch
SWEEPS: dict[str, tuple[str, ...]] = {f"groups_{size}": () for size in GROUPS}
COLUMNS = ("size", "group")


def case_of(config: Config) -> chosen.Case:
    assert isinstance(config.model, MlpModel)
    return (str(config.optim.batch), str(config.model.norm_group))


def collect(runs: Sequence[RunDirectory], folder: Path) -> None:
    """Of the grid: final.csv (one row a run) and runs.json."""
    chosen.write(runs, folder / chosen.GRID, COLUMNS, case_of, GAP)
    collected.write_provenance(folder / "runs.json", runs)


def further_sweeps(folder: Path) -> list[tuple[str, tuple[str, ...]]]:
    """The five further seeds of each case at its rate."""
    return [
        (
            f"groups_{size}",
            (f"model.norm_group={group}", f"optim.lr={chosen.best(cells):g}", "seed=1,2,3,4,5"),
        )
        for (size, group), cells in chosen.read(folder / chosen.GRID, COLUMNS).items()
    ]


def collect_further(runs: Sequence[RunDirectory], folder: Path) -> None:
    """Of the further seeds: further_seeds.csv (one row a run) and further_seeds_runs.json."""
    chosen.write(runs, folder / chosen.FURTHER, COLUMNS, case_of, GAP)
    collected.write_provenance(folder / "further_seeds_runs.json", runs)
