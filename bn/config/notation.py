"""Checks mappings against frozen dataclasses, whose annotations state what is accepted.

- `Annotated[float, "> 0, <= 1"]`: a range.
- `Literal["a", "b"]`, or `Annotated[str, TABLE]` for the keys of a table: a choice.
- `A | B` with dataclasses: the one whose `name` field accepts the value's `name`.
- `Annotated[str, "not empty"]`, `Annotated[tuple[int, ...], "not empty, distinct"]`: further rules.
- `Annotated[str, "path"]`: a path; a leading ~ becomes the home folder.
- `Annotated[..., Doc("meaning", "unit")]`: the description in --help (bn/cli/help.py).

A field with a default may be missing.
"""

import dataclasses
import functools
import json
import operator
import os
import types
from collections.abc import Mapping
from typing import Annotated, Any, Literal, NamedTuple, TypeVar, Union, get_args, get_origin, get_type_hints

from bn.errors import UserError

T = TypeVar("T")
COMPARISONS = {">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt}
RULES = {
    "not empty": bool,
    "distinct": lambda items: len(set(items)) == len(items),
    "path": lambda path: path.isprintable() and not os.path.expanduser(path).startswith("~"),  # unknown user
}
WORDS = {int: "int", float: "float", str: "text", bool: "true, false"}


class Doc(NamedTuple):
    """The meaning of a key, and the unit of its value if it has one."""

    meaning: str
    unit: str = ""


def checked(schema: type[T], mapping: Mapping[str, Any]) -> T:
    """Build an instance of the dataclass `schema`.

    UserError, in one line, names the first wrong key, its value and what is accepted.
    """
    return _build(schema, mapping, "")


hints_of = functools.cache(functools.partial(get_type_hints, include_extras=True))


class Parts(NamedTuple):
    """The parts of an annotation."""

    base: Any
    rules: Any  # comma-separated rules, "" for none, or a table whose keys are accepted
    doc: Doc | None


def parts_of(hint: Any) -> Parts:
    base, *notes = get_args(hint) if get_origin(hint) is Annotated else (hint,)
    doc = next((note for note in notes if isinstance(note, Doc)), None)
    return Parts(base, next((note for note in notes if note is not doc), ""), doc)


def options_of(hint: Any) -> tuple[Any, ...]:
    """The types of a union (`NoneType` for null); a single one for any other type."""
    base = parts_of(hint).base
    return get_args(base) if get_origin(base) in (Union, types.UnionType) else (hint,)


def names_of_option(option: Any) -> tuple[str, ...]:
    """The accepted values of the `name` field of a dataclass in a union; () if it has none or is free."""
    base, rules, _ = parts_of(hints_of(option).get("name"))
    return tuple(rules) if isinstance(rules, Mapping) else get_args(base)


def accepted(hint: Any) -> str:
    """Describe the accepted values of a type, for --help and error messages."""
    first, *others = options = options_of(hint)
    if others:
        words = [accepted(option) for option in options if option is not types.NoneType]
        return " or ".join([*dict.fromkeys(words), *["null"] * (types.NoneType in options)])
    if dataclasses.is_dataclass(first):
        return "a group of keys"
    base, rules, _ = parts_of(first)
    kind, arguments = get_origin(base), get_args(base)
    if isinstance(rules, Mapping) or kind is Literal:
        return ", ".join(map(str, rules or arguments))
    if kind is tuple:
        item = accepted(arguments[0])
        rules = rules.replace("not empty", "at least one").replace("distinct", "no value twice")
        return ", ".join(filter(None, (f"a list of {'paths' if item == 'a path' else item}", rules)))
    if "path" in rules:
        return "a path" if "not empty" in rules else "a path, or empty"
    return f"{WORDS[base]}{',' * (base is str and bool(rules))} {rules}".rstrip()


def _build(hint: Any, value: Any, key: str) -> Any:
    """Check a value and convert it: lists to tuples, ints to floats where due, ~ to the home folder."""
    options = options_of(hint)
    if value is None and types.NoneType in options:
        return None
    if groups := [option for option in options if dataclasses.is_dataclass(option)]:
        return _build_group(groups, value, key)
    base, rules, _ = parts_of(options[0])
    kind, arguments = get_origin(base), get_args(base)
    if kind is tuple and isinstance(value, (list, tuple)):
        value = tuple(_build(arguments[0], part, f"{key}[{i}]") for i, part in enumerate(value))
    elif base is float and type(value) is int:
        value = float(value)
    if not _fits(value, base, rules):
        whole = base is int and type(value) is float and value.is_integer()  # such as 1e5
        raise _refusal(key, value, accepted(hint) + (f", written {value:.0f}" if whole else ""))
    return os.path.expanduser(str(value)) if base is str and "path" in rules else value


def _build_group(groups: list[Any], value: Any, key: str) -> Any:
    """Build an instance of the only dataclass, or of the one selected by the value's `name`."""
    if len(groups) > 1:
        by_name = {name: group for group in groups for name in names_of_option(group)}
        name = value.get("name") if isinstance(value, Mapping) else value
        if not isinstance(name, str) or name not in by_name:
            raise _refusal(f"{key}.name", name, ", ".join(by_name))
        groups = [by_name[name]]
    if not isinstance(value, Mapping):
        raise _refusal(key, value, "a group of keys")
    (group,) = groups
    hints = hints_of(group)
    prefix = f"{key}." if key else ""
    for name in value:
        if name not in hints:
            raise UserError(f"{prefix}{name}: unknown key; accepted: {', '.join(hints)}")
    for field in dataclasses.fields(group):
        if field.name not in value and field.default is dataclasses.MISSING:
            raise UserError(f"{prefix}{field.name}: missing")
    return group(
        **{name: _build(hint, value[name], prefix + name) for name, hint in hints.items() if name in value}
    )


def _fits(value: Any, base: Any, rules: Any) -> bool:
    if isinstance(rules, Mapping) or get_origin(base) is Literal:
        return any(type(value) is type(one) and value == one for one in rules or get_args(base))
    if type(value) is not (get_origin(base) or base):
        return False
    return all(_holds(rule, value) for rule in rules.split(", ") if rule)


def _holds(rule: str, value: Any) -> bool:
    if rule in RULES:
        return RULES[rule](value)
    comparison, limit = rule.split()
    return COMPARISONS[comparison](value, float(limit))


def typed(value: Any) -> str:
    """Format a plain value as it is typed on the command line: null, true, [1,2], text without quotes."""
    if isinstance(value, str):
        return value or "''"
    if isinstance(value, (list, tuple)):
        return f"[{','.join(map(typed, value))}]"
    return json.dumps(value) if value is None or isinstance(value, bool) else str(value)


def _refusal(key: str, value: Any, accepted: str) -> UserError:
    shown = repr(value) if isinstance(value, str) else typed(value)
    return UserError(f"{key}={shown}: accepted: {accepted}")
