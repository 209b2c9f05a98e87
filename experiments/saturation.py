"""Saturation (section 1): how many sigmoids of each layer are so saturated that they pass almost no gradient.

    python scripts/reproduce.py saturation     the networks of Figure 1 x 5 seeds
                                               (configs/sweep/inside_mlp.yaml)

The paper: changes of the parameters move many dimensions of x "into the saturated regime of the nonlinearity
and slow down the convergence. This effect is amplified as the network depth increases"; BN keeps the inputs
from there. Measured numbers, with n: results/saturation/table.md.

Deviations and assumptions, decided before the runs: a unit is saturated by an example if the derivative of
the sigmoid is below a tenth of its maximum, which is 1/4: an output below 0.026 or above 0.974. The share is
over all units and 10,020 training examples, in training mode. The mean share over training is the mean over
the steps 0, 10,000, ..., 50,000. Claim 38 compares it in the last hidden layer, seed by seed.
"""

SWEEPS = {"inside_mlp": ()}
