"""What --help prints: every key with its value, its meaning, its unit and what is accepted, from the schema.

python train.py --help                                  everything
python train.py --help optim probe.at experiment        some groups or keys
python train.py --help optim experiment=bn_x5 scale=smoke    with the values that these choices give
"""

import dataclasses
import re
import shutil
import string
import textwrap
import types
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Union, get_args, get_origin, get_type_hints

from omegaconf import DictConfig, OmegaConf

from bn.config import Config
from bn.config.notation import accepted, names_of_option, split_doc, typed
from bn.data.idx_sets import IDX_SETS
from bn.errors import UserError
from bn.evaluate.config import EvaluationAndData
from bn.run.directory import REPOSITORY

WIDEST = 110
DESCRIBED_AT = 38  # the column, unless what stands before it is longer


class Key(NamedTuple):
    """A line of the page: a key with its value, or a group, which is a heading."""

    name: str  # as it is typed
    value: str | None  # as it would be typed; None of a group, and where it depends on what is chosen
    text: str
    is_group: bool = False


def help_page(program: str, composed: DictConfig, about: Sequence[str]) -> str:
    """The page, or the part of it that `about` names: groups and keys. UserError for a name of neither.

    `composed` has the values that are shown, and, in Hydra's own part, the text around the keys.
    """
    own = [str(key) for key in composed if key != "hydra"]
    values: Any = OmegaConf.to_container(OmegaConf.masked_copy(composed, own), resolve=True)
    template, choices = composed.hydra.help.template, composed.hydra.runtime.choices
    if program == "train.py":
        schema: type = Config
        folders = (path.name for path in (REPOSITORY / "configs").iterdir() if path.is_dir())
        groups = {group: names_of(group) for group in sorted(folders) if group != "hydra"}
    else:
        schema = EvaluationAndData
        groups = {"data": [name for name in names_of("data") if name not in IDX_SETS]}
    width = min(WIDEST, shutil.get_terminal_size((WIDEST, 24)).columns)
    keys = list(_keys(schema, values, "", set(groups)))
    if not about:
        filled = string.Template(template).safe_substitute(
            CHOICES=_overview(groups, choices, width), KEYS=_shown(keys, width)
        )
        return filled.strip()
    parts = []
    for name in about:
        found = [key for key in keys if key.name == name or key.name.startswith(f"{name}.")]
        if not found and name not in groups:
            known = sorted({*groups, *(key.name.split(".")[0] for key in keys if key.is_group)})
            raise UserError(f"--help {name}: unknown; accepted: a key, or one of {', '.join(known)}")
        if name in groups:
            parts.append(_choices(name, groups[name], choices.get(name), width))
        if found:
            parts.append(_shown(found, width))
    return "\n\n".join(parts)


def names_of(group: str) -> list[str]:
    """What can be chosen of a config group, such as "experiment"."""
    return sorted(path.stem for path in (REPOSITORY / "configs" / group).glob("*.yaml"))


def _keys(schema: Any, values: Mapping[str, Any], prefix: str, groups: set[str]) -> Iterator[Key]:
    """Those of a dataclass, then its groups. What is only chosen, as an experiment is, is no key."""
    inner = []
    for name, hint in get_type_hints(schema, include_extras=True).items():
        key = f"{prefix}{name}"
        kind, doc = split_doc(hint)
        value = values.get(name)
        if options := [option for option in _options(kind) if dataclasses.is_dataclass(option)]:
            inner.append((key, options, value))
        elif key not in groups and name != "name":
            yield Key(key, typed(value) if name in values else None, _described(doc, kind))
    for key, options, value in inner:
        for option in options:
            names = names_of_option(option) if len(options) > 1 else ()
            yield Key(key, None, _title(option, key, names), is_group=True)
            chosen = value if isinstance(value, Mapping) else {}
            if names and chosen.get("name") not in names:
                chosen = {}
            yield from _keys(option, chosen, f"{key}.", groups)


def _options(kind: Any) -> tuple[Any, ...]:
    return get_args(kind) if get_origin(kind) in (Union, types.UnionType) else (kind,)


def _title(option: Any, key: str, names: Sequence[str]) -> str:
    """The first paragraph of a group's docstring, after the choice that it belongs to."""
    text = " ".join((option.__doc__ or "").split("\n\n")[0].split())
    return f"({key}={' or '.join(names)}) {text}" if names else text


def _described(doc: Any, kind: Any) -> str:
    """Meaning, unit and what is accepted."""
    meaning, unit = doc or ("", "")
    about = "; ".join(filter(None, (accepted(kind), unit)))
    return f"{meaning} ({about})".strip()


def _shown(keys: Sequence[Key], width: int) -> str:
    lines = []
    for key in keys:
        if key.is_group:
            lines += ["", *textwrap.wrap(f"{key.name}: {key.text}", width, subsequent_indent="  ")]
        else:
            head = f"  {key.name}" if key.value is None else f"  {key.name}={key.value}"
            lines += _in_columns(head, key.text, width)
    return "\n".join(lines).strip("\n")


def _in_columns(head: str, text: str, width: int) -> list[str]:
    indent = min(DESCRIBED_AT, width // 2)
    filled = textwrap.wrap(text, max(20, width - indent), break_on_hyphens=False) or [""]
    if len(head) + 2 <= indent:
        filled[0] = f"{head:<{indent}}{filled[0]}"
        return [filled[0].rstrip(), *(" " * indent + line for line in filled[1:])]
    return [head, *(" " * indent + line for line in filled)]


def _overview(groups: Mapping[str, Sequence[str]], choices: Mapping[str, Any], width: int) -> str:
    """Each config group with what can be chosen of it, and what is."""
    lines = []
    for group, names in groups.items():
        chosen = f" [{made}]" if (made := choices.get(group)) is not None else ""
        lines += textwrap.wrap(f"{group}: {', '.join(names)}{chosen}", width, subsequent_indent="  ")
    return "\n".join(lines)


def _choices(group: str, names: Sequence[str], made: Any, width: int) -> str:
    """One config group: what can be chosen, and what the file of each says first."""
    lines = [f"{group}=NAME{'' if made is None else f', now {made}'}:"]
    for name in names:
        lines += _in_columns(f"  {name}", first_sentence(group, name), width)
    return "\n".join(lines)


def first_sentence(group: str, name: str) -> str:
    """The first sentence of the comment at the head of a config."""
    comment = []
    for line in (REPOSITORY / "configs" / group / f"{name}.yaml").read_text().splitlines():
        if not line.startswith("#"):
            break
        if not line.startswith("# @package"):
            comment.append(line.removeprefix("#").strip())
    text = re.split(r":? python train\.py", " ".join(comment))[0]
    sentence = re.match(r".*?(?:\?|[.!](?=\s+[A-Z(]|$))", text)
    return sentence[0] if sentence else text
