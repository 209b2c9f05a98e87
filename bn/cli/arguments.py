"""Checks the arguments of a command before Hydra parses them."""

import re
from collections.abc import Sequence
from typing import Any

from hydra._internal.utils import get_args_parser
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Override
from hydra.errors import HydraException

from bn.config.notation import typed
from bn.errors import UserError
from bn.files import REPOSITORY

CONFIGS = REPOSITORY / "configs"
KEY = re.compile(r"[A-Za-z_][\w./-]*")
HYDRA_KEYS = ("hydra/launcher", "hydra.launcher.", "hydra.sweeper.", "hydra.mode", "hydra.sweep.dir")


def choices_of(group: str) -> list[str]:
    """The choices of a config group, such as "experiment"; [] if there is no such group."""
    return sorted(path.stem for path in (CONFIGS / group).glob("*.yaml"))


def check_arguments(arguments: Sequence[str]) -> None:
    """UserError for an argument that `checked_key` refuses, or a key given twice (Hydra uses the last)."""
    known: dict[str, str] = {}
    for argument in arguments:
        key = checked_key(argument)
        if key in known:
            raise UserError(f"{key}: given twice, {known[key]} and {argument}; accepted: once")
        known[key] = argument


def checked_key(argument: str) -> str:
    """The key or group of KEY=VALUE. UserError for any other form and for an unknown choice of a group.

    Hydra's own messages name parser tokens and files, and some wrong arguments it accepts.
    """
    override = _parsed(argument)
    key = override.key_or_group
    if key.startswith("hydra"):
        if not key.startswith(HYDRA_KEYS):
            raise UserError(f"{key}: accepted Hydra keys: {', '.join(HYDRA_KEYS)}")
    elif names := choices_of(key):
        _check_choice(argument, override, names)
    return key


def sweep_arguments(argv: Sequence[str]) -> list[str]:
    """The command line of a sweep, with each `data.workers=3` as `++data.workers=3`; others unchanged.

    Hydra first composes a config without the axes, and would refuse there a key that only a swept experiment
    has. The sweeper removes the ++, so that each member is composed with the argument as given.
    """
    known = get_args_parser().parse_args(list(argv))
    is_sweep = any(re.match("sweep=|hydra.mode=MULTIRUN", word) for word in known.overrides)
    if not (known.multirun or is_sweep) or known.cfg or known.info:
        return list(argv)
    return [_added(word) if word in known.overrides else word for word in argv]


def _added(argument: str) -> str:
    override = _parsed(argument)
    key = override.key_or_group
    nested = "." in key and not key.startswith("hydra.")
    plain = not (override.is_add() or override.is_force_add() or override.is_sweep_override())
    return f"++{argument}" if nested and plain else argument


def _parsed(argument: str) -> Override:
    accepted = "KEY=VALUE, such as optim.lr=1"
    try:
        override = OverridesParser.create().parse_override(argument)
    except HydraException:
        shown = argument if argument.strip() else repr(argument)
        quotes = "quote a value with special characters, as in \"output='my runs'\""
        raise UserError(f"{shown}: accepted: {accepted}; {quotes}") from None
    if override.is_delete() or override.package is not None or not KEY.fullmatch(override.key_or_group):
        raise UserError(f"{argument}: accepted: {accepted}")
    return override


def _check_choice(argument: str, override: Override, names: Sequence[str]) -> None:
    """UserError for an unknown choice of a group. A sweep may have several, and loggers may be a list."""
    key, value = override.key_or_group, override.value()
    if override.is_add():
        raise UserError(f"{argument}: accepted: {key}=NAME, without +")
    if override.is_sweep_override() and not isinstance(value, ChoiceSweep):
        return  # such as glob(*), which Hydra expands to existing choices
    values: Any = value.list if isinstance(value, ChoiceSweep) else value
    chosen = [typed(getattr(one, "text", one)) for one in (values if isinstance(values, list) else [values])]
    for name in chosen:
        if name not in names:
            raise UserError(f"{key}={name}: unknown; accepted: {', '.join(names)}")
    if isinstance(value, list) and (len(set(chosen)) < len(chosen) or "none" in chosen):
        raise UserError(f"{argument}: accepted: each logger once; none only by itself: logger=none")
