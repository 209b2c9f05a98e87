"""Errors of Hydra and of OmegaConf, each in one line."""

import re
import shlex
import sys

from hydra.errors import HydraException, InstantiationException, MissingConfigException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException, ValidationError

from bn.cli.help import names_of
from bn.config import Loggers
from bn.errors import UserError


def explain(error: Exception) -> str:
    """One line for an error of the user's or of Hydra's."""
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, InstantiationException) and isinstance(error.__cause__, UserError):  # of a plugin
        return str(error.__cause__)
    if isinstance(error, MissingConfigException) and error.missing_cfg_file and error.options:
        group, _, name = str(error.missing_cfg_file).rpartition("/")
        return f"{group}={name}: unknown; accepted: {', '.join(error.options)}"
    if missing := re.search(r"Could not load '(\w+)/([^']+)'", str(error)):  # of several choices of a group
        return f"{missing[1]}={missing[2]}: unknown; accepted: {', '.join(names_of(missing[1]))}"
    if twice := re.match(r"Multiple values for (\w+)\.", str(error)):
        return f"{twice[1]}: given twice; accepted: once, without +"
    if several := re.match(r"(?:Ambiguous value for argument|Sweep parameters) '(.+)'", str(error)):
        return f"{several[1]}: several values need -m, which trains with each; a list is written [1,2]"
    if "Config group override" in str(error) and (wrong := _no_choice()):
        return wrong
    if isinstance(error.__cause__, ValidationError):
        key = error.__cause__.full_key or str(error).rpartition(" ")[2].partition("=")[0]
        return f"{key}: {str(error.__cause__).splitlines()[0]}"
    if not isinstance(error, (HydraException, OmegaConfBaseException)):
        return f"{' '.join(str(error).split())} (in {shlex.join(sys.argv[1:])})"
    parent = getattr(error.__cause__, "parent_node", None)
    if isinstance(parent, DictConfig):
        key = getattr(error.__cause__, "full_key", None) or getattr(error.__cause__, "key", "")
        if wrong := _no_logger(str(key)):
            return wrong
        return f"{key}: unknown key; accepted: {', '.join(k for k in map(str, parent) if k != 'hydra')}"
    return " ".join(str(error).split())


def _no_logger(key: str) -> str | None:
    """Of a logger that is not chosen, such as logger.wandb, or of a key of none: what to choose."""
    group, _, name = key.partition(".")
    if group != "logger" or "." in name:
        return None
    if name in Loggers.__annotations__:
        return f"{key}: accepted with logger={name}"
    return f"{key}: unknown key; accepted: {', '.join(f'logger.{n}' for n in Loggers.__annotations__)}"


def _no_choice() -> str | None:
    """Of a null or a number that is chosen of a group: which, and what is accepted."""
    for argument in sys.argv[1:]:
        group, _, chosen = argument.lstrip("+").partition("=")
        names = names_of(group) if group and not group.startswith(("-", "/", ".")) else []
        for choice in chosen.split(","):
            if names and choice not in names:
                return f"{group}={choice}: unknown; accepted: {', '.join(names)}"
    return None
