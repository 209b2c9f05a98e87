"""Internal covariate shift and saturation (sections 1 and 3) inside Inception, early in its training: what
`covariate_shift` and `saturation` measure in the MLP.

    python scripts/reproduce.py inside_inception     2 networks x 2 nonlinearities x 3 seeds, 600 steps each
                                                     (configs/sweep/inside_inception.yaml)

The paper argues with the distributions of layers' inputs, and shows them for a network of three hidden layers
alone. Here the two measures of shift and the share of saturated sigmoids are taken in four layers of
Inception: conv2, and a 3x3 convolution of 3b, 4c and 5b. Inception is compared with BN-Baseline, which
differs by BN alone and trains at the same learning rate, both with ReLU as in the paper and with the sigmoid.
Measured numbers, with n: results/inside_inception/table.md.

Deviations and assumptions, decided before the runs:

- Each number is a ratio or a difference seed by seed (n = 3), without BN against with it. BN reduces a shift
  if the 95% interval of the ratio (Student's t on the logarithms) lies above one, and increases it if it lies
  below; otherwise the runs do not tell. A seed's number is the geometric mean over the four layers and over
  five steps: the first, and those after the steps 30, 150, 300 and 450. BN keeps inputs out of the saturated
  regime if the share of saturated sigmoids, the mean over the four layers at step 600, is clearly smaller
  with it, and pushes them there if it is clearly larger.
- The paper's account needs less shift with BN in the first measure, with ReLU, and fewer saturated sigmoids.
  Whether shift slows training down cannot be seen here: there is one learning rate. The rules of the ledger
  were written for the MLP and do not use these numbers.
- The network with the sigmoid that trains in the paper is BN-x5-Sigmoid, which has the seven changes of
  section 4.2.1 as well, among them a rate five times as high. BN-Baseline with the sigmoid differs from
  Inception with it by BN alone.
- A unit is a feature map, whose values at all locations count. Distributions are of 128 training images; the
  gradient is that of 32 of them. Dropout has the same mask before and after the step.
- "The layers before a layer" are those whose parameters come before its own in the network. In an Inception
  module this includes the 1x1 branch beside a 3x3 convolution, which is not below it.
"""

from collections.abc import Sequence
from pathlib import Path

from bn.run.directory import RunDirectory
from experiments import archived, collected, inside

SWEEPS = {"inside_inception": ()}
NONLINEARITIES = ("relu", "sigmoid")
OBSERVED = ("shift", "gradient_shift", "gradient_cosine", "saturated")


def collect(runs: Sequence[RunDirectory], folder: Path) -> None:
    """relu.csv and sigmoid.csv (by network, seed, step and layer), final.csv (accuracy) and runs.json."""
    entries = archived.gather(runs, folder)  # of all: seeds are compared one by one
    for nonlinearity in NONLINEARITIES:
        own = [run for run in runs if run.config.model.nonlinearity == nonlinearity]
        inside.write(folder / f"{nonlinearity}.csv", own, OBSERVED)
    collected.write_entries(folder / "runs.json", entries)
