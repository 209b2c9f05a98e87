"""Configs as plain values, and those that earlier runs saved.

Runs outlive the schema. A key that is added later has a default there, the value that earlier runs had
without it; a key that is removed goes into `REMOVED` with the default it had; what was written in another
form is put into today's. `recorded` reads a saved config so.
"""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any, get_type_hints

from bn.config.notation import defaults, option
from bn.config.schema import Config

REMOVED: dict[str, Any] = {"data.max_broken": 10}  # keys that are gone, with the default they had


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
    if isinstance(logger := today.get("logger"), dict) and "name" in logger:
        today["logger"] = _loggers(logger)
    return today


def _loggers(one: dict[str, Any]) -> dict[str, Any]:
    """Before several could be chosen there was one, told by its `name`."""
    keys = {key: value for key, value in one.items() if key != "name"}
    return {} if one["name"] == "none" else {one["name"]: keys}


def changes(saved: Mapping[str, Any], config: Config) -> dict[str, tuple[Any, Any]]:
    """The flattened keys in which a saved config is not `config`: (the value there, the value here).

    "absent" where one of them lacks a key that has no default.
    """
    there = {**_later(config), **flatten(recorded(saved))}
    here = flatten(to_dict(config))
    return {
        key: (there.get(key, "absent"), here.get(key, "absent"))
        for key in sorted(there.keys() | here.keys())
        if there.get(key, _NEVER) != here.get(key, _NEVER)
    }


_NEVER = object()  # equal to no value


def _later(config: Any, prefix: str = "") -> dict[str, Any]:
    """The defaults of all keys of `config` that have one, flattened."""
    found = {
        f"{prefix}{name}": _plain(value)
        for name, value in defaults(type(config)).items()
        if not dataclasses.is_dataclass(value)
    }
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            found |= _later(value, f"{prefix}{field.name}.")
    return found


def completed(saved: Mapping[str, Any]) -> dict[str, Any]:
    """A saved config, flattened, in today's keys; those that it lacks with the default that they have.

    It is not checked: what is no key of today stays.
    """
    names = ((key, value.get("name")) for key, value in saved.items() if isinstance(value, Mapping))
    known = frozenset((key, name) for key, name in names if isinstance(name, str))
    flat = flatten(recorded(saved))
    there = flat.keys() | {key.rpartition(".")[0] for key in flat}  # keys, and groups with keys of their own
    return {**flat, **{key: value for key, value in _defaults_of(Config, known).items() if key not in there}}


@functools.lru_cache
def _defaults_of(schema: type, names: frozenset[tuple[str, str]], prefix: str = "") -> dict[str, Any]:
    """The defaults of all keys that have one, flattened, where groups have these names."""
    found = {
        f"{prefix}{key}": _plain(value)
        for key, value in defaults(schema).items()
        if not dataclasses.is_dataclass(value)
    }
    for field, hint in get_type_hints(schema, include_extras=True).items():
        if part := option(hint, dict(names).get(f"{prefix}{field}")):
            found |= _defaults_of(part, names, f"{prefix}{field}.")
    return found


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
