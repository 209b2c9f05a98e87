"""The arguments of a command, each checked before Hydra takes them."""

import re
import traceback

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from bn.errors import UserError

KEY = re.compile(r"[A-Za-z_][\w./-]*")
OF_HYDRA = ("hydra/launcher", "hydra.launcher.", "hydra.sweeper.", "hydra.mode", "hydra.sweep.dir")


def check_argument(argument: str) -> None:
    """UserError for what is not KEY=VALUE. Hydra would say what its parser expected next, or take it."""
    accepted = "KEY=VALUE, such as optim.lr=1"
    try:
        override = OverridesParser.create().parse_override(argument)
    except HydraException:
        shown = argument if argument.strip() else repr(argument)
        quotes = "a value of other than plain characters in quotes of its own, \"output='my runs'\""
        raise UserError(f"{shown}: accepted: {accepted}; {quotes}") from None
    key = override.key_or_group
    if override.is_delete() or override.package is not None or not KEY.fullmatch(key):
        raise UserError(f"{argument}: accepted: {accepted}")
    if key.startswith("hydra") and not key.startswith(OF_HYDRA):
        raise UserError(f"{key}: accepted of Hydra's: {', '.join(OF_HYDRA)}")


def is_of_composing(error: Exception) -> bool:
    """Whether Hydra or OmegaConf stumbled over what was typed: not all of its errors are of its own types."""
    frames = traceback.walk_tb(error.__traceback__)
    *_, (innermost, _) = frames
    return innermost.f_globals.get("__name__", "").partition(".")[0] in ("hydra", "omegaconf")
