"""`runs.py diff`: in what two runs differ: config, code, versions, machine; and where their curves part."""

import argparse
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from textwrap import wrap
from typing import Any

from bn.compare.columns import described
from bn.compare.facts import starts_of
from bn.compare.rows import Row, rows_of
from bn.compare.runs import Run, makes_the_run, run_named
from bn.compare.settings import ABSENT, shown
from bn.compare.terminal import in_columns, width
from bn.errors import printable

TIMES = ("step", "wall_s", "train/images_per_second")  # which differ between any two runs
Line = tuple[str, str, str]


def main(arguments: argparse.Namespace) -> None:
    one, other = (run_named(name) for name in arguments.runs)
    page = [
        f"A: {described(one)}",
        f"B: {described(other)}",
        *section("config", config_lines(one, other), width()),
        *section("code and machine", differing(facts_of(one), facts_of(other)), width()),
        "",
        *curves(rows_of(one.path), rows_of(other.path)),
    ]
    print(*page, sep="\n")


def config_lines(one: Run, other: Run) -> list[Line]:
    """The keys that differ; those that make no other run are marked."""
    return [
        (key if makes_the_run(key, one.config) else f"({key})", there, here)
        for key, there, here in differing(one.config, other.config)
    ]


def facts_of(run: Run) -> dict[str, Any]:
    """Of its first start."""
    first, *resumed = starts_of(run.path) or [{}]
    return {**first, "times resumed": len(resumed)}


def differing(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[Line]:
    """What is not the same in both: its name and both values."""
    pairs = [(key, one.get(key, ABSENT), other.get(key, ABSENT)) for key in {**one, **other}]
    return [(key, shown(there), shown(here)) for key, there, here in pairs if there != here]


def section(title: str, lines: Sequence[Line], width: int) -> list[str]:
    """Three columns; on a terminal a value gets half of what the names leave, in several lines if need be."""
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
    """A table of the numbers that both logged: where each first differs, and by how much."""
    by_step = {row["step"]: row for row in others}
    pairs = [(row, by_step[row["step"]]) for row in rows if row["step"] in by_step]
    if not pairs:
        return ["curves: no step was logged by both"]
    names = {name: None for one, other in pairs for name in one if name in other and name not in TIMES}
    table = [("number", "first differs at", "at the end", "most"), *(curve(name, pairs) for name in names)]
    steps = f"{len(pairs):,} step{'s' * (len(pairs) > 1)}"
    title = f"curves, at the {steps} that both logged, up to {pairs[-1][0]['step']:,}"
    return [title, *(f"  {line}" for line in in_columns(table))]


def curve(name: str, pairs: Sequence[tuple[Row, Row]]) -> tuple[str, str, str, str]:
    """Of one number: the first step at which the two differ in any bit, the last values, the largest gap."""
    both = [(one["step"], one[name], other[name]) for one, other in pairs if name in one and name in other]
    parted = [(step, there, here) for step, there, here in both if there != here]
    _, there, here = both[-1]
    if not parted:
        rows = f"{len(both):,} row{'s' * (len(both) != 1)}"
        return name, f"the same, to the last bit, in {rows}", f"{there:.4g}", ""
    step, *far = max(parted, key=lambda found: abs(found[1] - found[2]))
    gap = f"{abs(far[0] - far[1]):.4g} at {step:,}"
    return name, f"{parted[0][0]:,}", f"{there:.4g} | {here:.4g}", gap
