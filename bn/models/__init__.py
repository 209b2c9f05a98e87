"""The networks of the paper."""

from bn.models.inception import inception
from bn.models.mlp import mlp

__all__ = ["inception", "mlp"]
