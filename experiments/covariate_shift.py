"""Internal covariate shift (sections 1 and 3): how far training moves what a layer works on, with and without
BN, and whether more of it goes with slower training.

    python scripts/reproduce.py covariate_shift     2 networks x 24 settings x 5 seeds x 2,500 steps
                                                    (configs/sweep/covariate_shift.yaml), and the networks of
                                                    Figure 1 x 5 seeds (configs/sweep/inside_mlp.yaml)

The paper calls internal covariate shift the change in the distribution of a layer's inputs due to the change
of the parameters, says that it slows down training and that BN reduces it. It does not measure it. Here two
measures are taken of the same runs. Shift: the 1-Wasserstein distance between a unit's inputs to the sigmoid
before and after one step, in units of their standard deviation (`bn.observe.shift.InputShift`). Gradient
shift: the change of a layer's gradient when the layers before it have taken the step and the layer itself has
not (Santurkar et al. 2018; `bn.observe.shift.GradientShift`). Besides: how small changes of the weights
amplify with depth, and the correlations between the units, which BN leaves. Measured numbers, with n:
results/covariate_shift/table.md.

Deviations and assumptions, decided before the runs:

- Distributions are those of the input to the sigmoid, in training mode; with BN it is BN's output, as in
  Figure 1.
- The settings are those of the fair comparison: 8 learning rates x 3 stds, on 50,000 training examples. A
  run's shift is the geometric mean over the three hidden layers and over ten steps, the first and every
  250th. Claim 1 compares, seed by seed, the geometric means over the 24 settings; Spearman's rho is between
  the settings' geometric means over the seeds and their mean test accuracies. Accuracies with BN are by
  Algorithm 2's statistics. A run that diverged counts as chance, with the shift of the steps before. A step
  at which a layer does not move at all, or has no spread, has no logarithm and is left out.
- The gradient is that of the weights W, of the first mini-batch of the observed examples and not of the
  mini-batch that the step takes.
- Claims 2 and 38 are decided on the trained networks of Figure 1. Each weight matrix of the whole network is
  changed by noise of 1% of its norm. "From the second to the last layer": the first layer's input is the
  image, the second's is z of the first hidden layer, and the last's, the classifier's, is z of the third. The
  change is relative to the norm of z.
- Claims 15 and 22 are decided on the last hidden layer of the networks of Figure 1. The change of the
  correlations from step 5,000 to 50,000 is taken over one half of the observed examples; its yardstick is the
  difference at step 50,000 between that half and the other.
"""

SWEEPS = {"covariate_shift": (), "inside_mlp": ()}
