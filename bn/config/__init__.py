"""Everything that can be chosen: the typed schema, its tables of names, and what is checked.

`config_from` turns a mapping (such as a composed YAML) into a `Config` or raises a UserError of one line that
names the key and what is accepted.
"""

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
    """The checked `Config` of a mapping of plain values. UserError with one line if anything is wrong."""
    config = checked(Config, mapping)
    check_combinations(config)
    return config
