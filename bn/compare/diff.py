"""`runs.py diff`: differences of two runs in config, code, versions, machine and curves."""

import argparse
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from textwrap import wrap
from typing import Any

from bn.compare.columns import described
from bn.compare.environment import starts_of
from bn.compare.rows import Row, rows_of
from bn.compare.runs import Run, find_run, identifies_run
from bn.compare.settings import ABSENT, shown
from bn.compare.terminal import in_columns, width
from bn.errors import printable

NOT_CURVES = ("step", "wall_s", "train/images_per_second")
Line = tuple[str, str, str]


def main(arguments: argparse.Namespace) -> None:
    one, other = (find_run(name) for name in arguments.runs)
    page = [
        f"A: {described(one)}",
        f"B: {described(other)}",
        *section("config", config_lines(one, other), width()),
        *section("code and machine", differing(environment_of(one), environment_of(other)), width()),
        "",
        *curves(rows_of(one.path), rows_of(other.path)),
    ]
    print(*page, sep="\n")


def config_lines(one: Run, other: Run) -> list[Line]:
    """The keys that differ, in brackets if they do not make it another run."""
    rows = differing(one.config, other.config)
    return [(key if identifies_run(key, one.config) else f"({key})", a, b) for key, a, b in rows]


def environment_of(run: Run) -> dict[str, Any]:
    """The environment of the first start, and the number of resumptions."""
    first, *resumed = starts_of(run.path) or [{}]
    return {**first, "times resumed": len(resumed)}


def differing(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[Line]:
    """The keys that differ, with both values."""
    pairs = [(key, one.get(key, ABSENT), other.get(key, ABSENT)) for key in {**one, **other}]
    return [(key, shown(a), shown(b)) for key, a, b in pairs if a != b]


def section(title: str, lines: Sequence[Line], width: int) -> list[str]:
    """A table of name and two values, which are wrapped to share the width of the terminal."""
    if not lines:
        return ["", f"{title}: the same in both"]
    names = max(len(title), *(len(name) + 2 for name, *_ in lines))
    room = max((width - names - 4) // 2, 10)
    rows = [(title, "A", "B")]
    for name, *values in lines:
        parts = zip_longest(*(wrap(printable(value), room) for value in values), fillvalue="")
        rows += [("" if i else f"  {name}", *pair) for i, pair in enumerate(parts)]
    return ["", *in_columns(rows)]


def curves(rows: Sequence[Row], others: Sequence[Row]) -> list[str]:
    """A table of the numbers that both runs logged: where each first differs, and by how much."""
    by_step = {row["step"]: row for row in others}
    pairs = [(row, by_step[row["step"]]) for row in rows if row["step"] in by_step]
    if not pairs:
        return ["curves: no step was logged by both"]
    names = {name: None for one, other in pairs for name in one if name in other and name not in NOT_CURVES}
    table = [("number", "first differs at", "at the end", "most"), *(curve(name, pairs) for name in names)]
    steps = f"{len(pairs):,} step{'s' * (len(pairs) > 1)}"
    title = f"curves, at the {steps} that both logged, up to {pairs[-1][0]['step']:,}"
    return [title, *(f"  {line}" for line in in_columns(table))]


def curve(name: str, pairs: Sequence[tuple[Row, Row]]) -> tuple[str, str, str, str]:
    """The row of one number: the first step at which any bit differs, the last values, the largest gap."""
    both = [(one["step"], one[name], other[name]) for one, other in pairs if name in one and name in other]
    gaps = [(abs(a - b), step) for step, a, b in both if a != b]
    _, a, b = both[-1]
    if not gaps:
        rows = f"{len(both):,} row{'s' * (len(both) != 1)}"
        return name, f"the same, to the last bit, in {rows}", f"{a:.4g}", ""
    gap, step = max(gaps, key=lambda gap: gap[0])
    return name, f"{gaps[0][1]:,}", f"{a:.4g} | {b:.4g}", f"{gap:.4g} at {step:,}"
