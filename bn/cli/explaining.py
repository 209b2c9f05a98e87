"""Errors of Hydra and of OmegaConf, each in one line."""

import re

from hydra.errors import InstantiationException, MissingConfigException
from omegaconf import DictConfig
from omegaconf.errors import ValidationError

from bn.config import Loggers
from bn.errors import UserError


def explain(error: Exception) -> str:
    """One line for an error of the user's or of Hydra's."""
    cause = error.__cause__
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, InstantiationException) and isinstance(cause, UserError):  # of a plugin
        return str(cause)
    if isinstance(error, MissingConfigException) and error.missing_cfg_file and error.options:
        group, _, name = str(error.missing_cfg_file).rpartition("/")
        return f"{group}={name}: unknown; accepted: {', '.join(error.options)}"
    if several := re.match(r"(?:Ambiguous value for argument|Sweep parameters) '(.+)'", str(error)):
        return f"{several[1]}: several values need -m, which trains with each; a list is written [1,2]"
    if isinstance(cause, ValidationError):
        key = cause.full_key or str(error).rpartition(" ")[2].partition("=")[0]
        return f"{key}: {str(cause).splitlines()[0]}"
    parent = getattr(cause, "parent_node", None)
    if isinstance(parent, DictConfig):
        key = str(getattr(cause, "full_key", None) or getattr(cause, "key", ""))
        if key in LOGGERS:
            return f"{key}: accepted with {key.replace('.', '=')}"
        keys = LOGGERS if key.startswith("logger.") and key.count(".") == 1 else map(str, parent)
        return f"{key}: unknown key; accepted: {', '.join(each for each in keys if each != 'hydra')}"
    return " ".join(str(error).split())


LOGGERS = [f"logger.{name}" for name in Loggers.__annotations__]  # each a group, where it is chosen
