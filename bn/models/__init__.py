"""The networks of the paper."""

from bn.models.mlp import mlp

__all__ = ["mlp"]
