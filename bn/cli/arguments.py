"""The arguments of a command, each checked before Hydra takes them."""

import re
import traceback
from collections.abc import Sequence

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from bn.errors import UserError

KEY = re.compile(r"[A-Za-z_][\w./-]*")
OF_HYDRA = ("hydra/launcher", "hydra.launcher.", "hydra.sweeper.", "hydra.mode", "hydra.sweep.dir")


def check_arguments(arguments: Sequence[str]) -> None:
    """UserError for an argument that is not KEY=VALUE, and for a key that is given twice.

    Hydra would say what its parser expected next, or take it; of a key's values it would take the last.
    """
    known: dict[str, str] = {}
    for argument in arguments:
        key = _checked_key(argument)
        if key in known:
            raise UserError(f"{key}: given twice, {known[key]} and {argument}; accepted: once")
        known[key] = argument


def _checked_key(argument: str) -> str:
    """The key or group in KEY=VALUE."""
    accepted = "KEY=VALUE, such as optim.lr=1"
    try:
        override = OverridesParser.create().parse_override(argument)
    except HydraException:
        shown = argument if argument.strip() else repr(argument)
        quotes = "a value with special characters in its own quotes, \"output='my runs'\""
        raise UserError(f"{shown}: accepted: {accepted}; {quotes}") from None
    key = override.key_or_group
    if override.is_delete() or override.package is not None or not KEY.fullmatch(key):
        raise UserError(f"{argument}: accepted: {accepted}")
    if key.startswith("hydra") and not key.startswith(OF_HYDRA):
        raise UserError(f"{key}: accepted of Hydra's: {', '.join(OF_HYDRA)}")
    if key == "logger" and isinstance(names := override.value(), list):
        _check_loggers(argument, names)
    return key


def _check_loggers(argument: str, names: Sequence[object]) -> None:
    """UserError for a list that names a logger twice, or none and another, which Hydra would accept."""
    if len(set(map(str, names))) < len(names):
        raise UserError(f"{argument}: accepted: each logger once")
    if "none" in names:
        raise UserError(f"{argument}: accepted: none alone, logger=none, or a list without it")


def is_of_composing(error: Exception) -> bool:
    """Whether Hydra or OmegaConf raised it while reading what was typed; it may be of any type."""
    frames = traceback.walk_tb(error.__traceback__)
    *_, (innermost, _) = frames
    return innermost.f_globals.get("__name__", "").partition(".")[0] in ("hydra", "omegaconf")
