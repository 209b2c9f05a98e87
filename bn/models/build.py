"""Build the network that a config describes."""

from bn.config import Config, ImageData, MlpModel
from bn.data.seeds import generator
from bn.models.inception import Inception, inception
from bn.models.mlp import MLP, mlp


def build_model(config: Config) -> MLP | Inception:
    """Build the network of `config` on the CPU, with initial weights drawn from the config's seed."""
    draws = generator(config.seed, "init")
    if isinstance(config.model, MlpModel):
        return mlp(network=config.model, generator=draws)
    assert isinstance(config.data, ImageData)  # the schema pairs them
    return inception(config.data.classes, size=config.data.crop, network=config.model, generator=draws)
