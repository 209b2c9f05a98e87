"""One-line messages for errors of Hydra and OmegaConf."""

import re
import traceback

from hydra.errors import InstantiationException, MissingConfigException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException, ValidationError

from bn.config import Loggers
from bn.errors import UserError

LOGGERS = [f"logger.{name}" for name in Loggers.__annotations__]  # groups that exist only if chosen


def raised_by_hydra(error: Exception) -> bool:
    """Whether Hydra or OmegaConf raised the error, which may be of any type, while reading the arguments."""
    *_, (innermost, _) = traceback.walk_tb(error.__traceback__)
    return innermost.f_globals.get("__name__", "").partition(".")[0] in ("hydra", "omegaconf")


def message_of(error: Exception) -> str:
    """The one-line message for a UserError or an error of Hydra."""
    cause = error.__cause__
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, InstantiationException) and isinstance(cause, UserError):  # from a plugin
        return str(cause)
    if isinstance(error, MissingConfigException) and error.missing_cfg_file and error.options:
        group, _, name = str(error.missing_cfg_file).rpartition("/")
        return f"{group}={name}: unknown; accepted: {', '.join(error.options)}"
    if several := re.match(r"(?:Ambiguous value for argument|Sweep parameters) '(.+)'", str(error)):
        return f"{several[1]}: several values: train.py -m trains a run for each; write a list as [1,2]"
    if isinstance(cause, ValidationError):
        key = cause.full_key or str(error).rpartition(" ")[2].partition("=")[0]
        return f"{key}: {str(cause).splitlines()[0]}"
    parent = getattr(cause, "parent_node", None)
    if isinstance(parent, DictConfig):
        key = str(getattr(cause, "full_key", None) or getattr(cause, "key", ""))
        if key in LOGGERS:
            return f"{key}: accepted with {key.replace('.', '=')}"
        keys = LOGGERS if key.startswith("logger.") and key.count(".") == 1 else map(str, parent)
        accepted = ", ".join(each for each in keys if each != "hydra") or key.rpartition(".")[0]  # steps.x
        return f"{key}: unknown key; accepted: {accepted}"
    if isinstance(error, OmegaConfBaseException) and error.full_key:  # an interpolation
        return f"{error.full_key}: {str(error).splitlines()[0]}"
    return " ".join(str(error).split())
