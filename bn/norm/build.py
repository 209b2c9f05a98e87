"""The normalization layers that `model.norm` can name.

Each function takes the features, an int C or the shape (C, H, W) of an example, and the model's config. The
layer has a gamma and a beta for each feature and is placed just before the nonlinearity.
"""

from torch import nn

from bn.config import InceptionModel, MlpModel
from bn.config.choices import NORMALIZATIONS, load
from bn.norm.module import BatchNorm
from bn.norm.population import PopulationNorm

Features = int | tuple[int, ...]
Model = InceptionModel | MlpModel


def normalization(features: Features, model: Model) -> nn.Module:
    """Build the layer named by `model.norm`. Raises ValueError if it cannot normalize these features."""
    return load(NORMALIZATIONS[model.norm])(features, model)


def none(features: Features, model: Model) -> nn.Module:
    return nn.Identity()


def batch(features: Features, model: Model) -> nn.Module:
    """Over the mini-batch (Algorithm 1), and for (N, C, H, W) over all locations (section 3.2)."""
    return BatchNorm(features, model.bn_eps, model.bn_momentum)


def ghost(features: Features, model: Model) -> nn.Module:
    """Over each group of `norm_group` consecutive examples of the mini-batch."""
    return BatchNorm(features, model.bn_eps, model.bn_momentum, model.norm_group)


def population(features: Features, model: Model) -> nn.Module:
    """By the moving averages in training too, with the gradient of batch normalization."""
    return PopulationNorm(features, model.bn_eps, model.bn_momentum)


def layer(features: Features, model: Model) -> nn.Module:
    """Over all features of each example, (C,) or (C, H, W) (Ba et al. 2016, arXiv 1607.06450)."""
    return nn.GroupNorm(1, _channels(features), model.bn_eps)


def group(features: Features, model: Model) -> nn.Module:
    """Over each of `norm_groups` groups of channels of an example (Wu & He 2018, arXiv 1803.08494)."""
    return nn.GroupNorm(model.norm_groups, _channels(features), model.bn_eps)


def _channels(features: Features) -> int:
    if isinstance(features, int):
        return features
    raise ValueError("only batch normalization can be per activation")
