"""How weights grow and what that does to gradients (section 3.3), at learning rates of 0.1, 1 and 10.

    python scripts/reproduce.py weight_growth     2 networks x 3 rates x 5 seeds x 50,000 steps
                                                  (configs/sweep/inside_mlp.yaml and weight_growth.yaml)

The paper: with BN "larger weights lead to smaller gradients, and Batch Normalization will stabilize the
parameter growth". The gradient with respect to W of a layer with BN is at right angles to W, so that each
step of SGD makes the norm of W grow; and it is inversely proportional to that norm. Then what a step changes
is set by the effective learning rate, rate / |W|^2 (van Laarhoven 2017, arXiv 1706.05350), which falls as W
grows. Measured numbers, with n: results/weight_growth/table.md.

Deviations and assumptions, decided before the runs: norms are Euclidean, of each hidden layer's W; the
gradient is that of one mini-batch of training examples, always the same. Growth is the ratio of the norm at
the end to that at the middle, step 25,000; over the first half, of that at the middle to that at the start,
minus one. Claim 37's "at each rate" is at each rate and in each hidden layer: confirmed if each mean over the
seeds is below 10%, partly if in each layer at each rate the growth over the second half is clearly less than
over the first, seed by seed. A run that diverged cannot be compared, and would make the claim not confirmed.
"""

SWEEPS = {"inside_mlp": (), "weight_growth": ()}
