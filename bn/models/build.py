"""The network of a config."""

from torch import nn

from bn.config import Config, ImageData, InceptionModel, MlpModel
from bn.models.inception import inception
from bn.models.mlp import mlp
from bn.seeds import generator


def build_model(config: Config) -> nn.Module:
    """The network that `config` describes, its initial weights drawn from the config's seed; on the CPU."""
    draws = generator(config.seed, "init")
    match config.model, config.data:
        case MlpModel() as m, _:
            return mlp(
                hidden=m.hidden, norm=m.norm, nonlinearity=m.nonlinearity, init_std=m.init_std,
                bn_eps=m.bn_eps, bn_momentum=m.bn_momentum, generator=draws,
            )  # fmt: skip
        case InceptionModel() as m, ImageData() as data:
            return inception(
                data.classes, norm=m.norm, norm_group=m.norm_group, nonlinearity=m.nonlinearity, lrn=m.lrn,
                dropout=m.dropout, stem=m.stem, stem_stride=m.stem_stride, stem_pools=m.stem_pools,
                pool_proj=m.pool_proj, width=m.width, per_activation=m.per_activation,
                init_scale=m.init_scale, bn_eps=m.bn_eps, bn_momentum=m.bn_momentum, size=data.crop,
                generator=draws,
            )  # fmt: skip
    raise AssertionError("bn.config pairs models with data")
