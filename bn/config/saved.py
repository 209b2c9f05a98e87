"""Converts configs to plain values, and configs saved by earlier versions to the present schema.

Runs outlive the schema. A key added to the schema needs as its default the value that earlier runs had
implicitly. A removed key moves to `REMOVED` with its former default.
"""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

from bn.config.notation import hints_of, names_of_option, options_of
from bn.config.schema import Config

REMOVED: dict[str, Any] = {"data.max_broken": 10}  # removed keys with their former defaults
_NEVER = object()  # not equal to any value


def recorded(saved: Mapping[str, Any]) -> dict[str, Any]:
    """Convert a saved, nested config to the present keys.

    Keys in `REMOVED` are dropped if they have their default. Missing keys stay missing: `config_from` gives
    them the default of the schema.
    """

    def kept(mapping: Mapping[str, Any], prefix: str) -> dict[str, Any]:
        return {
            name: kept(value, f"{prefix}{name}.") if isinstance(value, dict) else value
            for name, value in mapping.items()
            if REMOVED.get(f"{prefix}{name}", _NEVER) != value
        }

    today = kept(saved, "")
    logger = today.get("logger")
    if isinstance(logger, dict) and "name" in logger:  # earlier versions had a single logger
        name = logger.pop("name")
        today["logger"] = {} if name == "none" else {name: logger}
    return today


def completed(saved: Mapping[str, Any]) -> dict[str, Any]:
    """Convert a saved config to the present keys, flattened, and add defaults for missing keys.

    It is not checked: unknown keys are kept.
    """
    flat = flatten(recorded(saved))
    present = flat.keys() | {key.rpartition(".")[0] for key in flat}  # keys, and groups that have keys
    names = frozenset(name for key, name in flat.items() if key.endswith(".name") and isinstance(name, str))
    return {**flat, **{key: value for key, value in _defaults(Config, names).items() if key not in present}}


@functools.cache
def _defaults(schema: type, names: frozenset[str], prefix: str = "") -> dict[str, Any]:
    """The flattened defaults of all keys that have one; of a union of groups, those with one of `names`."""
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
    """The flattened keys in which a saved config differs from `config`, as (saved value, present value).

    "absent" stands for a key without a default that one of them lacks.
    """
    there, here = completed(saved), flatten(to_dict(config))
    return {
        key: (there.get(key, "absent"), here.get(key, "absent"))
        for key in sorted(there.keys() | here.keys())
        if there.get(key, _NEVER) != here.get(key, _NEVER)
    }


def to_dict(config: Any) -> dict[str, Any]:
    """Convert a config to nested plain values, as in YAML and JSON."""
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
