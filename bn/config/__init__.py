"""The config: its typed schema, the tables of accepted names, and all checks."""

from collections.abc import Mapping
from typing import Any

from bn.config.combinations import check_combinations
from bn.config.notation import checked
from bn.config.saved import changes, completed, flatten, recorded, to_dict
from bn.config.schema import (
    Config,
    Decay,
    Evaluate,
    ImageData,
    InceptionModel,
    Loggers,
    MlpModel,
    MnistData,
    Optim,
    Path,
    Probe,
    Schedule,
    TensorboardLogger,
    Threads,
    WandbLogger,
)


def config_from(mapping: Mapping[str, Any]) -> Config:
    """Convert a mapping of plain values, such as a composed YAML, to a checked `Config`.

    UserError, in one line, names the first wrong key, its value and what is accepted.
    """
    config = checked(Config, mapping)
    check_combinations(config)
    return config
