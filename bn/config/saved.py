"""Configs as plain values, and those that earlier runs saved.

Runs outlive the schema. A key that is added later has a default there, the value that earlier runs had
without it; a key that is removed goes into `REMOVED` with the default it had; what was written in another
form is put into today's. `recorded` reads a saved config so.
"""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

from bn.config.notation import hints_of, names_of_option, options_of
from bn.config.schema import Config

REMOVED: dict[str, Any] = {"data.max_broken": 10}  # keys that are gone, with the default they had
_NEVER = object()  # equal to no value


def recorded(saved: Mapping[str, Any]) -> dict[str, Any]:
    """A saved config, nested as it was, in today's keys: less those of `REMOVED` that had their default.

    `config_from` gives the keys that it lacks the default that they had when they came.
    """

    def kept(mapping: Mapping[str, Any], prefix: str) -> dict[str, Any]:
        return {
            name: kept(value, f"{prefix}{name}.") if isinstance(value, dict) else value
            for name, value in mapping.items()
            if REMOVED.get(f"{prefix}{name}", _NEVER) != value
        }

    today = kept(saved, "")
    logger = today.get("logger")
    if isinstance(logger, dict) and "name" in logger:  # before several could be chosen there was one
        name = logger.pop("name")
        today["logger"] = {} if name == "none" else {name: logger}
    return today


def completed(saved: Mapping[str, Any]) -> dict[str, Any]:
    """A saved config, flattened, in today's keys; those that it lacks with the default that they have.

    It is not checked: what is no key of today stays.
    """
    flat = flatten(recorded(saved))
    there = flat.keys() | {key.rpartition(".")[0] for key in flat}  # keys, and groups with keys of their own
    names = frozenset(name for key, name in flat.items() if key.endswith(".name") and isinstance(name, str))
    return {**flat, **{key: value for key, value in _defaults(Config, names).items() if key not in there}}


@functools.cache
def _defaults(schema: type, names: frozenset[str], prefix: str = "") -> dict[str, Any]:
    """The defaults of all keys that have one, flattened; of groups to choose from, those of these names."""
    found = {}
    for field in dataclasses.fields(schema):
        options = options_of(hints_of(schema)[field.name])
        groups = [option for option in options if dataclasses.is_dataclass(option)]
        if len(options) > 1:
            groups = [group for group in groups if names.intersection(names_of_option(group))]
        for group in groups:
            found |= _defaults(group, names, f"{prefix}{field.name}.")
        if not groups and field.default is not dataclasses.MISSING:
            found[f"{prefix}{field.name}"] = _plain(field.default)
    return found


def changes(saved: Mapping[str, Any], config: Config) -> dict[str, tuple[Any, Any]]:
    """The flattened keys in which a saved config is not `config`: (the value there, the value here).

    "absent" where one of them lacks a key that has no default.
    """
    there, here = completed(saved), flatten(to_dict(config))
    return {
        key: (there.get(key, "absent"), here.get(key, "absent"))
        for key in sorted(there.keys() | here.keys())
        if there.get(key, _NEVER) != here.get(key, _NEVER)
    }


def to_dict(config: Any) -> dict[str, Any]:
    """Nested plain values, as YAML and JSON write them."""
    return _plain(dataclasses.asdict(config))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, (tuple, list)) else value


def flatten(mapping: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"optim": {"lr": 0.1}} -> {"optim.lr": 0.1}."""
    flat: dict[str, Any] = {}
    for key, value in mapping.items():
        if isinstance(value, dict):
            flat.update(flatten(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat
