"""What --help prints: every key with its value, its meaning, its unit and what is accepted, from the schema.

python train.py --help                                  everything
python train.py --help optim probe.at experiment        some groups or keys
python train.py --help optim experiment=bn_x5 scale=smoke    with the values that these choices give
"""

import dataclasses
import itertools
import re
import shutil
import string
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from omegaconf import DictConfig

from bn.cli.arguments import CONFIGS, names_of
from bn.cli.composing import plain_values
from bn.config import Config
from bn.config.notation import Doc, accepted, hints_of, names_of_option, options_of, parts_of, typed
from bn.data.idx_sets import IDX_SETS
from bn.errors import UserError
from bn.evaluate.config import EvaluationAndData

WIDEST = 110
DESCRIBED_AT = 38  # the column, unless what stands before it is longer


def help_page(program: str, composed: DictConfig, about: Sequence[str]) -> str:
    """The page, or the part of it that `about` names: groups and keys. UserError for a name of neither.

    `composed` has the values that are shown, and, in Hydra's own part, the text around the keys.
    """
    template, choices = composed.hydra.help.template, composed.hydra.runtime.choices
    if program == "train.py":
        schema: type = Config
        groups = {path.name: names_of(path.name) for path in sorted(CONFIGS.iterdir()) if path.is_dir()}
        del groups["hydra"]
    else:
        schema = EvaluationAndData
        groups = {"data": [name for name in names_of("data") if name not in IDX_SETS]}
    width = min(WIDEST, shutil.get_terminal_size((WIDEST, 24)).columns)
    lines = list(_lines(schema, plain_values(composed), "", set(groups), width))
    if not about:
        made = {group: f" [{choice}]" if (choice := choices.get(group)) else "" for group in groups}
        overview = (f"{group}: {', '.join(names)}{made[group]}" for group, names in groups.items())
        filled = string.Template(template).safe_substitute(
            CHOICES="\n".join(textwrap.fill(line, width, subsequent_indent="  ") for line in overview),
            KEYS="\n".join(line for _, line in lines),
        )
        return filled.strip()
    parts = []
    for name in about:
        found = [line for key, line in lines if key == name or key.startswith(f"{name}.")]
        if not found and name not in groups:
            known = sorted({*groups, *(key.partition(".")[0] for key, _ in lines if "." in key)})
            raise UserError(f"--help {name}: unknown; accepted: a key, or one of {', '.join(known)}")
        if name in groups:
            made = f", now {choices[name]}" if choices.get(name) else ""
            rows = [_row(f"  {choice}", first_sentence(name, choice), width) for choice in groups[name]]
            parts.append("\n".join([f"{name}=NAME{made}:", *rows]))
        if found:
            parts.append("\n".join(found).strip("\n"))
    return "\n\n".join(parts)


def _lines(
    schema: Any, values: Mapping[str, Any], prefix: str, groups: set[str], width: int
) -> Iterator[tuple[str, str]]:
    """Each key of a dataclass with its line, then its groups, with a heading and the lines of their keys.

    What is only chosen, as an experiment is, is no key. Without a value where that depends on what is chosen.
    """
    inner = []
    for name, hint in hints_of(schema).items():
        key = f"{prefix}{name}"
        if options := [option for option in options_of(hint) if dataclasses.is_dataclass(option)]:
            inner += [(key, option, len(options) > 1, values.get(name)) for option in options]
        elif key not in groups and name != "name":
            doc = parts_of(hint).doc or Doc("")
            about = "; ".join(filter(None, (accepted(hint), doc.unit)))
            head = f"  {key}={typed(values[name])}" if name in values else f"  {key}"
            yield key, _row(head, f"{doc.meaning} ({about})", width)
    for key, option, is_choice, value in inner:
        names = names_of_option(option) if is_choice else ()
        title = (option.__doc__ or "").split("\n\n")[0]
        choice = f"({key}={' or '.join(names)})" * is_choice
        yield (
            key,
            "\n" + textwrap.fill(" ".join(f"{key}: {choice} {title}".split()), width, subsequent_indent="  "),
        )
        is_chosen = isinstance(value, Mapping) and (not is_choice or value.get("name") in names)
        yield from _lines(option, value if is_chosen else {}, f"{key}.", groups, width)


def _row(head: str, text: str, width: int) -> str:
    """In two columns: `head`, and `text`, which has all lines of its own where it needs more than one."""
    at = min(DESCRIBED_AT, width // 2)
    return textwrap.fill(
        text, width, initial_indent=f"{head:<{at - 2}}  ", subsequent_indent=" " * at,
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip


def first_sentence(group: str, name: str) -> str:
    """The first sentence of the comment at the head of a config."""
    text = (CONFIGS / group / f"{name}.yaml").read_text()
    comment = itertools.takewhile(lambda line: line.startswith("#"), text.splitlines())
    told = " ".join(line.lstrip("# ") for line in comment if not line.startswith("# @package"))
    told = re.split(r":? python train\.py", told)[0]
    sentence = re.match(r".*?(?:\?|[.!](?=\s+[A-Z(]|$))", told)
    return sentence[0] if sentence else told
