"""The arguments of a command, each checked before Hydra takes them."""

import re
import traceback
from collections.abc import Sequence
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Override
from hydra.errors import HydraException

from bn.config.notation import typed
from bn.errors import UserError
from bn.run.directory import REPOSITORY

CONFIGS = REPOSITORY / "configs"
KEY = re.compile(r"[A-Za-z_][\w./-]*")
OF_HYDRA = ("hydra/launcher", "hydra.launcher.", "hydra.sweeper.", "hydra.mode", "hydra.sweep.dir")


def names_of(group: str) -> list[str]:
    """What can be chosen of a config group, such as "experiment"; nothing of what is no group."""
    return sorted(path.stem for path in (CONFIGS / group).glob("*.yaml"))


def check_arguments(arguments: Sequence[str]) -> None:
    """UserError for an argument that `checked_key` refuses, and for a key that is given twice.

    Hydra would take the last of a key's values.
    """
    known: dict[str, str] = {}
    for argument in arguments:
        key = checked_key(argument)
        if key in known:
            raise UserError(f"{key}: given twice, {known[key]} and {argument}; accepted: once")
        known[key] = argument


def checked_key(argument: str) -> str:
    """The key or the group in KEY=VALUE. UserError for anything else, and for an unknown choice of a group.

    Hydra would say what its parser expected next, or take it; and of a path in place of a choice the file.
    """
    override = _parsed(argument)
    key = override.key_or_group
    if key.startswith("hydra"):
        if not key.startswith(OF_HYDRA):
            raise UserError(f"{key}: accepted of Hydra's: {', '.join(OF_HYDRA)}")
    elif names := names_of(key):
        _check_choice(argument, override, names)
    return key


def _parsed(argument: str) -> Override:
    accepted = "KEY=VALUE, such as optim.lr=1"
    try:
        override = OverridesParser.create().parse_override(argument)
    except HydraException:
        shown = argument if argument.strip() else repr(argument)
        quotes = "a value with special characters in its own quotes, \"output='my runs'\""
        raise UserError(f"{shown}: accepted: {accepted}; {quotes}") from None
    if override.is_delete() or override.package is not None or not KEY.fullmatch(override.key_or_group):
        raise UserError(f"{argument}: accepted: {accepted}")
    return override


def _check_choice(argument: str, override: Override, names: Sequence[str]) -> None:
    """UserError for what cannot be chosen of a group, one or, in a sweep, several; loggers may be a list."""
    key, value = override.key_or_group, override.value()
    if override.is_add():
        raise UserError(f"{argument}: accepted: {key}=NAME, without +")
    if override.is_sweep_override() and not isinstance(value, ChoiceSweep):
        return  # such as glob(*): of what there is
    values: Any = value.list if isinstance(value, ChoiceSweep) else value
    chosen = [typed(getattr(one, "text", one)) for one in (values if isinstance(values, list) else [values])]
    for name in chosen:
        if name not in names:
            raise UserError(f"{key}={name}: unknown; accepted: {', '.join(names)}")
    if isinstance(value, list) and (len(set(chosen)) < len(chosen) or "none" in chosen):
        raise UserError(f"{argument}: accepted: each logger once, and none alone: logger=none")


def is_of_composing(error: Exception) -> bool:
    """Whether Hydra or OmegaConf raised it while reading what was typed; it may be of any type."""
    *_, (innermost, _) = traceback.walk_tb(error.__traceback__)
    return innermost.f_globals.get("__name__", "").partition(".")[0] in ("hydra", "omegaconf")
