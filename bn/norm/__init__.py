"""Batch normalization: Algorithms 1 and 2 of Ioffe & Szegedy (2015), arXiv 1502.03167.

- `batch_norm`: the transform of Algorithm 1 as a function, on torch's kernel.
- `BatchNorm`: the same as a module, with moving averages for evaluation.
- `population_statistics`: Algorithm 2, the statistics that inference uses.
- `fold`: a network with each fixed BN map folded into the layer before it.
- `reference_forward`, `reference_backward`: Algorithm 1 and the paper's gradients, written out; the tests
  compare the fast ones with these.
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
