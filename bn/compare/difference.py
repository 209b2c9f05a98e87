"""`runs.py diff`: in what two runs differ: config, code, versions, machine; and where their curves part."""

import argparse
import os
from collections.abc import Iterable, Mapping
from itertools import zip_longest
from textwrap import wrap
from typing import Any

from bn.compare.facts import environment_of
from bn.compare.rows import Row, rows_of
from bn.compare.runs import Run, makes_the_run, run_named
from bn.compare.settings import ABSENT, shown
from bn.compare.terminal import width
from bn.errors import printable

TIMES = ("step", "wall_s", "train/images_per_second")  # which differ between any two runs
Line = tuple[str, str, str]


def main(arguments: argparse.Namespace) -> None:
    one, other = (run_named(name) for name in arguments.runs)
    (facts, resumed), (others_facts, others_resumed) = environment_of(one.path), environment_of(other.path)
    states = [f"{run.state.state}, step {run.state.step or 0:,}" for run in (one, other)]
    head = [("", "A", "B"), ("state", *states)]
    numbers = [("times resumed", str(len(resumed)), str(len(others_resumed)))]
    sections = [
        ("", head),
        ("config", config_lines(one, other)),
        (
            "code and machine",
            [*differing(facts, others_facts), *(numbers if resumed or others_resumed else [])],
        ),
    ]
    for letter, run in (("A", one), ("B", other)):
        print(printable(f"{letter}: {os.path.relpath(run.path)}"))
    print(*text_of(sections, width()), "", *curves(rows_of(one.path), rows_of(other.path)), sep="\n")


def config_lines(one: Run, other: Run) -> list[Line]:
    """The keys that differ; those that make no other run are marked."""
    return [
        (key if makes_the_run(key, one.config) else f"({key})", there, here)
        for key, there, here in differing(one.config, other.config)
    ]


def differing(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[Line]:
    """What is not the same in both: its name and both values."""
    pairs = [(key, one.get(key, ABSENT), other.get(key, ABSENT)) for key in {**one, **other}]
    return [(key, shown(there), shown(here)) for key, there, here in pairs if there != here]


def text_of(sections: Iterable[tuple[str, list[Line]]], width: int) -> list[str]:
    """Three columns; on a terminal a value gets half of what the names leave, in several lines if need be."""
    sections = list(sections)
    lines = [line for _, section in sections for line in section]
    first, second, third = (max(len(line[i]) for line in lines) for i in range(3))
    room = max((width - first - 6) // 2, 10)
    second, third = min(second, room), min(third, room)
    found = []
    for title, section in sections:
        found += ["", title if section else f"{title}: the same in both"] if title else [""]
        for name, there, here in section:
            pair = (wrap(printable(value), size) for value, size in ((there, second), (here, third)))
            for i, (left, right) in enumerate(zip_longest(*pair, fillvalue="")):
                found.append(f"  {'' if i else name:{first}}  {left:{second}}  {right}".rstrip())
    return found


def curves(rows: list[Row], others: list[Row]) -> list[str]:
    """A table of the numbers that both logged: where each first differs, and by how much."""
    by_step = {row["step"]: row for row in others}
    pairs = [(row, by_step[row["step"]]) for row in rows if row["step"] in by_step]
    if not pairs:
        return ["curves: no step was logged by both"]
    names = {name: None for one, other in pairs for name in one if name in other and name not in TIMES}
    table = [("number", "first differs at", "at the end", "most"), *(curve(name, pairs) for name in names)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in table]
    steps = f"{len(pairs):,} step{'s' * (len(pairs) > 1)}"
    title = f"curves, at the {steps} that both logged, up to {int(pairs[-1][0]['step']):,}"
    return [title, *(printable(f"  {line}") for line in lines)]


def curve(name: str, pairs: list[tuple[Row, Row]]) -> tuple[str, str, str, str]:
    """Of one number: the first step at which the two differ in any bit, the last values, the largest gap."""
    both = [
        (int(one["step"]), one[name], other[name]) for one, other in pairs if name in one and name in other
    ]
    parted = [(step, there, here) for step, there, here in both if there != here]
    _, there, here = both[-1]
    if not parted:
        rows = f"{len(both):,} row{'s' * (len(both) != 1)}"
        return name, f"the same, to the last bit, in {rows}", f"{there:.4g}", ""
    step, *far = max(parted, key=lambda found: abs(found[1] - found[2]))
    gap = f"{abs(far[0] - far[1]):.4g} at {step:,}"
    return name, f"{parted[0][0]:,}", f"{there:.4g} | {here:.4g}", gap
