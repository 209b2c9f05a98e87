"""Singular values of the layers' Jacobians, and what is left of the gradient that passes them (section 3.3).

    python scripts/reproduce.py jacobians     the networks of Figure 1 x 5 seeds
                                              (configs/sweep/inside_mlp.yaml)

The paper conjectures that BN "may lead the layer Jacobians to have singular values close to 1, which is known
to be beneficial for training": it considers the map between the normalized inputs of two consecutive layers,
and derives J J^T = I if these are Gaussian and uncorrelated and the map is linear. Then the magnitude of
gradients is preserved on the way back. Measured numbers, with n: results/jacobians/table.md.

Deviations and assumptions, decided before the runs: the Jacobian is of the map from the inputs to one layer's
sigmoid to those of the next, for the first hidden layer from the image, in training mode and with respect to
an example's own input (`bn.observe.jacobians.Jacobians`). Claim 39 compares the mean absolute natural
logarithm of the singular values, seed by seed, in three layers at initialization and at the steps 100, 1,000,
5,000, 20,000 and 50,000: 18 comparisons, of which "most" are ten. Claim 41 compares at the same steps the
absolute logarithm of the norm of the gradient with respect to the input of the first hidden layer (the image)
over that with respect to the input of the last, of one mini-batch, as the rule says. That ratio also depends
on the first layer's W, 784 wide, so the ratio from the second to the last hidden layer is shown beside it.
"""

SWEEPS = {"inside_mlp": ()}
STEPS = (0, 100, 1_000, 5_000, 20_000, 50_000)
