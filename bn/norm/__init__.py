"""Batch normalization, Algorithms 1 and 2 of Ioffe & Szegedy (2015), arXiv 1502.03167.

In training each feature is normalized by its mean and variance over the mini-batch, then scaled by gamma and
shifted by beta, which are learned. At inference the statistics of the population take their place.

- `batch_norm`: the transform of Algorithm 1 as a function, computed by torch's kernel.
- `BatchNorm`: the same as a module, with moving averages for evaluation.
- `population_statistics`: Algorithm 2, which computes the statistics for inference.
- `fold`: merges each BN of a trained network into the layer before it.
- `reference_forward`, `reference_backward`: Algorithm 1 and the paper's gradients, written out. The tests
  compare the fast implementations with them.

Algorithm 2, step by step: a network is built with a `BatchNorm` before each nonlinearity (1 to 5; bn/models)
and trained (6; bn/train.py); in evaluation mode it is the inference network (7), with the statistics that
`population_statistics` computes (8 to 10); its `BatchNorm` is then a linear transform, which `fold` merges
into the layer before it (11).
"""

from bn.norm.algorithm1 import batch_norm
from bn.norm.algorithm2 import NotFinite, population_statistics
from bn.norm.fold import fold
from bn.norm.module import BatchNorm
from bn.norm.reference import Forward, Gradients, reference_backward, reference_forward

__all__ = [
    "BatchNorm",
    "Forward",
    "Gradients",
    "NotFinite",
    "batch_norm",
    "fold",
    "population_statistics",
    "reference_backward",
    "reference_forward",
]
