"""What a network takes by name: its nonlinearity, and the check of its names."""

from torch import nn

from bn.config import InceptionModel, MlpModel
from bn.config.choices import NONLINEARITIES, NORMALIZATIONS, load


def nonlinearity(name: str) -> nn.Module:
    return load(NONLINEARITIES[name].constructor)()


def check_names(network: InceptionModel | MlpModel) -> None:
    """ValueError for a normalization or a nonlinearity that is not in its table."""
    for key, value, accepted in (
        ("norm", network.norm, NORMALIZATIONS),
        ("nonlinearity", network.nonlinearity, NONLINEARITIES),
    ):
        if value not in accepted:
            raise ValueError(f"{key}={value!r}: accepted: {', '.join(accepted)}")
