"""The --help page: every key with its value, meaning, unit and accepted values, from the schema.

python train.py --help                                       everything
python train.py --help optim probe.at experiment             some groups or keys
python train.py --help optim experiment=bn_x5 scale=smoke    with the values of these choices
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

from bn.cli.arguments import CONFIGS, choices_of
from bn.cli.composition import plain_values
from bn.config import Config
from bn.config.idx_sets import IDX_SETS
from bn.config.notation import Doc, accepted, hints_of, names_of_option, options_of, parts_of, typed
from bn.errors import UserError
from bn.evaluate.config import EvaluationAndData

WIDEST = 110
DESCRIPTION_COLUMN = 38


def help_page(program: str, composed: DictConfig, about: Sequence[str]) -> str:
    """The help page, or only the groups and keys in `about`. UserError for an unknown name.

    `composed` contains the values and, in Hydra's node, the template of the page.
    """
    template, choices = composed.hydra.help.template, composed.hydra.runtime.choices
    if program == "train.py":
        schema: type = Config
        groups = {path.name: choices_of(path.name) for path in sorted(CONFIGS.iterdir()) if path.is_dir()}
        del groups["hydra"]
    else:
        schema = EvaluationAndData
        groups = {"data": [name for name in choices_of("data") if name not in IDX_SETS]}
    width = min(WIDEST, shutil.get_terminal_size((WIDEST, 24)).columns)
    lines = list(_lines(schema, plain_values(composed), "", set(groups), width))
    if not about:
        current = {group: f" [{choice}]" if (choice := choices.get(group)) else "" for group in groups}
        overview = (f"{group}: {', '.join(names)}{current[group]}" for group, names in groups.items())
        page = string.Template(template).safe_substitute(
            CHOICES="\n".join(textwrap.fill(line, width, subsequent_indent="  ") for line in overview),
            KEYS="\n".join(line for _, line in lines),
        )
        return page.strip()
    parts = []
    for name in about:
        found = [line for key, line in lines if key == name or key.startswith(f"{name}.")]
        if not found and name not in groups:
            known = sorted({*groups, *(key.partition(".")[0] for key, _ in lines if "." in key)})
            raise UserError(f"--help {name}: unknown; accepted: a key, or one of {', '.join(known)}")
        if name in groups:
            current = f", now {choices[name]}" if choices.get(name) else ""
            rows = [_row(f"  {choice}", first_sentence(name, choice), width) for choice in groups[name]]
            parts.append("\n".join([f"{name}=NAME{current}:", *rows]))
        if found:
            parts.append("\n".join(found).strip("\n"))
    return "\n\n".join(parts)


def _lines(
    schema: Any, values: Mapping[str, Any], prefix: str, groups: set[str], width: int
) -> Iterator[tuple[str, str]]:
    """Yield (key, line) for the keys of a dataclass, then for its groups, each after a heading.

    Config groups such as `experiment` are not keys. A line has no value where the value depends on a choice.
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
    """Format `head` and `text` in two columns."""
    at = min(DESCRIPTION_COLUMN, width // 2)
    return textwrap.fill(
        text, width, initial_indent=f"{head:<{at - 2}}  ", subsequent_indent=" " * at,
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip


def first_sentence(group: str, name: str) -> str:
    """The first sentence of the comment at the top of a config file."""
    text = (CONFIGS / group / f"{name}.yaml").read_text()
    lines = itertools.takewhile(lambda line: line.startswith("#"), text.splitlines())
    comment = " ".join(line.lstrip("# ") for line in lines if not line.startswith("# @package"))
    comment = re.split(r":? python train\.py", comment)[0]
    sentence = re.match(r".*?(?:\?|[.!](?=\s+[A-Z(]|$))", comment)
    return sentence[0] if sentence else comment
