"""Mappings checked against frozen dataclasses.

A range is written where the field is (`Annotated[float, "> 0"]`), a choice as a `Literal`, or as the keys of
a table (`Annotated[str, TABLE]`), a choice between dataclasses as a union told apart by its `name`. A field
with a default may be missing. Of texts and lists `Annotated[str, "not empty"]` and
`Annotated[tuple[int, ...], "not empty, distinct"]` say more; of a path, "path", in which a leading ~ is the
home folder. `Annotated[..., Doc("meaning", "unit")]` says what a key means, for --help
(bn/cli/help.py).
"""

import dataclasses
import json
import math
import operator
import os
import types
from collections.abc import Mapping
from typing import Annotated, Any, Literal, NamedTuple, TypeVar, Union, get_args, get_origin, get_type_hints

from bn.errors import UserError

T = TypeVar("T")


class Doc(NamedTuple):
    """What a key means, and the unit of its value where it has one."""

    meaning: str
    unit: str = ""


def checked(schema: type[T], mapping: Mapping[str, Any]) -> T:
    """An instance of the dataclass `schema`. UserError of one line: the key, the value, what is accepted."""
    return _build(schema, mapping, "")


# One function for each way of writing a type.

_COMPARE = {">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt}


def split_doc(schema: Any) -> tuple[Any, Doc | None]:
    """The type as it is without its `Doc`, and that."""
    if get_origin(schema) is not Annotated:
        return schema, None
    base, *notes = get_args(schema)
    doc = next((note for note in notes if isinstance(note, Doc)), None)
    rest = tuple(note for note in notes if not isinstance(note, Doc))
    return (Annotated[(base, *rest)] if rest else base), doc


def accepted(schema: Any) -> str:
    """What a value of this type may be, in the words of the errors."""
    schema, _ = split_doc(schema)
    origin, arguments = get_origin(schema), get_args(schema)
    if dataclasses.is_dataclass(schema):
        return "a group of keys"
    if origin is Annotated:
        base, bounds = arguments
        if isinstance(bounds, Mapping):
            return ", ".join(bounds)
        if base in (int, float):
            return f"{base.__name__} {bounds}"
        if "path" in bounds:
            return "a path" if "not empty" in bounds else "a path, or empty"
        rules = bounds.replace("not empty", "at least one" if base is not str else bounds)
        return f"{accepted(base)}, {rules.replace('distinct', 'no value twice')}"
    if origin is Literal:
        return ", ".join(map(str, arguments))
    if origin in (Union, types.UnionType):
        options = [accepted(option) for option in arguments if option is not type(None)]
        return " or ".join([*dict.fromkeys(options), *["null"] * (type(None) in arguments)])
    if origin is tuple:
        item = accepted(arguments[0])
        return f"a list of {'paths' if item == 'a path' else item}"
    return {str: "text", bool: "true, false"}.get(schema) or schema.__name__


def _build(schema: Any, value: Any, key: str) -> Any:
    schema, _ = split_doc(schema)
    origin = get_origin(schema)
    if dataclasses.is_dataclass(schema):
        return _build_dataclass(schema, value, key)
    if origin is Annotated:
        base, bounds = get_args(schema)
        if isinstance(bounds, Mapping):
            return _one_of(tuple(bounds), value, key)
        if base not in (int, float):
            return _fitting(_build(base, value, key), bounds.split(", "), key)
        return _within(_build(base, value, key), bounds, base, key)
    if origin is Literal:
        return _one_of(get_args(schema), value, key)
    if origin in (Union, types.UnionType):
        return _build_union(get_args(schema), value, key)
    if origin is tuple:
        if not isinstance(value, (list, tuple)):
            raise _wrong(key, value, "a list, such as [1,2]")
        item = get_args(schema)[0]
        return tuple(_build(item, part, f"{key}[{i}]") for i, part in enumerate(value))
    return _build_scalar(schema, value, key)


def _one_of(accepted: tuple[Any, ...], value: Any, key: str) -> Any:
    if value not in accepted or isinstance(value, bool):
        raise _wrong(key, value, ", ".join(map(str, accepted)))
    return value


def _build_dataclass(schema: Any, value: Any, key: str) -> Any:
    if not isinstance(value, Mapping):
        raise _wrong(key, value, "a group of keys")
    hints = get_type_hints(schema, include_extras=True)
    prefix = f"{key}." if key else ""
    for name in value:
        if name not in hints:
            raise UserError(f"{prefix}{name}: unknown key; accepted: {', '.join(hints)}")
    later = defaults(schema)
    for name in hints:
        if name not in value and name not in later:
            raise UserError(f"{prefix}{name}: missing")
    return schema(
        **{name: _build(hints[name], value[name], prefix + name) for name in hints if name in value}
    )


def defaults(schema: Any) -> dict[str, Any]:
    """The fields of a dataclass that have a default, by name."""
    fields = dataclasses.fields(schema)
    return {field.name: field.default for field in fields if field.default is not dataclasses.MISSING}


def _build_union(options: tuple[Any, ...], value: Any, key: str) -> Any:
    if type(None) in options:
        (schema,) = (option for option in options if option is not type(None))
        return None if value is None else _build(schema, value, key)
    by_name = _by_name(options)
    name = value.get("name") if isinstance(value, Mapping) else value
    if not isinstance(name, str) or name not in by_name:
        raise _wrong(f"{key}.name", name, ", ".join(by_name))
    return _build(by_name[name], value, key)


def option(hint: Any, name: str | None) -> type | None:
    """The dataclass that a field with this annotation holds, or, of a union, the one that goes by `name`."""
    if dataclasses.is_dataclass(hint):
        return hint if isinstance(hint, type) else None
    is_union = get_origin(hint) in (Union, types.UnionType) and type(None) not in get_args(hint)
    return _by_name(get_args(hint)).get(name) if is_union and name else None


def _by_name(options: tuple[Any, ...]) -> dict[str, Any]:
    return {name: option for option in options for name in names_of_option(option)}


def names_of_option(option: Any) -> tuple[str, ...]:
    """The names that a dataclass of a union goes by; none where it has no `name`, or any may be."""
    hint, _ = split_doc(get_type_hints(option, include_extras=True).get("name"))
    if get_origin(hint) not in (Literal, Annotated):
        return ()
    return get_args(hint) if get_origin(hint) is Literal else tuple(get_args(hint)[1])


def _build_scalar(schema: type, value: Any, key: str) -> Any:
    if schema is float and type(value) is int:
        value = float(value)
    if type(value) is not schema:
        whole = schema is int and type(value) is float and value.is_integer()
        raise _wrong(key, value, f"int, written {int(value)}" if whole else schema.__name__)
    if schema is float and not math.isfinite(value):
        raise _wrong(key, value, "a finite float")
    return value


def _within(value: Any, bounds: str, base: type, key: str) -> Any:
    for bound in bounds.split(", "):
        compare, limit = bound.split()
        if not _COMPARE[compare](value, float(limit)):
            raise _wrong(key, value, f"{base.__name__} {bounds}")
    return value


def _fitting(value: Any, rules: list[str], key: str) -> Any:
    """A text or a list, of which "not empty", "distinct" or "path" may be said."""
    if "not empty" in rules and not value:
        raise _wrong(key, value if isinstance(value, str) else list(value), f"{' and '.join(rules)}")
    if "distinct" in rules and len(set(value)) < len(value):
        raise _wrong(key, list(value), "each value once")
    if "path" in rules:
        value = os.path.expanduser(value)
        if value.startswith("~") or not value.isprintable():
            raise _wrong(key, value, "a path; ~ is the home folder, ./~ a folder of that name")
    return value


def typed(value: Any) -> str:
    """A plain value as it is typed on the command line: null, true, [1,2], a text without quotes."""
    if isinstance(value, str):
        return value or "''"
    if isinstance(value, (list, tuple)):
        return f"[{','.join(map(typed, value))}]"
    return json.dumps(value) if value is None or isinstance(value, bool) else str(value)


def _wrong(key: str, value: Any, accepted: str) -> UserError:
    shown = repr(value) if isinstance(value, str) else typed(value)
    return UserError(f"{key}={shown}: accepted: {accepted}")
