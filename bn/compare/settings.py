"""Settings: runs that differ only in their seeds, and the keys in which settings differ."""

import os
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

from bn.compare.debugging import choices as debug_choices
from bn.compare.runs import Run, by_numbers, makes_the_run
from bn.compare.terminal import align
from bn.errors import printable

ABSENT = "-"  # of a key that a run does not have
CHOICES = ("scale", "debug")  # each sets many keys: only runs with the same choices are compared key by key
NO_CHOICE = (None, "none")
LONGEST = 24  # characters of a value, where it is one of many on a line


class Setting(NamedTuple):
    """What the runs of several seeds have in common."""

    experiment: str
    values: dict[str, str]  # of the keys in which any settings differ, as they are shown
    own: list[str]  # the keys that its name has: in which settings with its choices differ
    runs: list[Run]  # by seed

    def name(self, alone: bool = False) -> str:
        """`mnist_bn, lr=0.1`; of the only experiment (`alone`) `lr=0.1`."""
        short = short_names(list(self.values))
        values = [f"{short[key]}={brief(self.values[key])}" for key in self.own if self.values[key] != ABSENT]
        return ", ".join(values if alone and values else [self.experiment, *values])


def settings(runs: Sequence[Run]) -> list[Setting]:
    """The runs by their settings, in the order of their names; those without a readable config left out."""
    runs = [run for run in runs if run.config]
    by_choices: dict[tuple[Any, ...], list[Run]] = {}
    for run in runs:
        by_choices.setdefault(choices_of(run), []).append(run)
    keys = differing_keys(runs)
    own = {
        choices: [key for key, choice in zip(CHOICES, choices, strict=True)
                  if key in keys and choice not in NO_CHOICE] + differing_keys(some)
        for choices, some in by_choices.items()
    }  # fmt: skip
    groups: dict[Any, list[Run]] = {}
    for run in runs:
        what = [(key, repr(value)) for key, value in run.config.items() if is_compared(key, run)]
        groups.setdefault((run.state.experiment, *sorted(what)), []).append(run)
    found = [
        Setting(
            group[0].state.experiment,
            {key: shown(group[0].config.get(key, ABSENT)) for key in keys},
            own[choices_of(group[0])],
            sorted(group, key=lambda run: run.config.get("seed", 0)),
        )
        for group in groups.values()
    ]
    return sorted(found, key=lambda setting: by_numbers(setting.name()))


def one_of_each_seed(groups: Sequence[Setting]) -> tuple[list[Setting], list[str]]:
    """The settings with one run of each seed, and a line for each other run.

    The same seed trained again, or copied, is no other sample: it would narrow the interval. The first run
    counts, which is a finished one if there is one.
    """
    kept, lines = [], []
    for group in groups:
        of_seed: dict[Any, Run] = {}
        for run in group.runs:
            first = of_seed.setdefault(run.config.get("seed"), run)
            if first is not run:
                path, other = os.path.relpath(run.path), os.path.relpath(first.path)
                lines.append(printable(f"left out: {path}: the setting and seed of {other}"))
        kept.append(group._replace(runs=list(of_seed.values())))
    return kept, lines


def without_config(runs: Sequence[Run]) -> list[str]:
    """A line for each run that is in no setting."""
    paths = (os.path.relpath(run.path) for run in runs if not run.config)
    return [printable(f"left out: {path}: its config is missing or damaged") for path in paths]


def differing_keys(runs: Sequence[Run]) -> list[str]:
    """The keys, other than the seed, in which runs of one experiment with the same choices differ.

    The choices that differ come first. What the experiment or a choice sets follows from it, and is left out
    unless a run has another value.
    """
    runs = [run for run in runs if run.config]
    found: set[str] = set()
    seen: dict[Any, dict[str, Any]] = {}  # the values of a first run
    for run in runs:
        kind = run.state.experiment, choices_of(run)
        if kind not in seen:
            given = debug_choices().get(run.config["debug"], {})
            seen[kind] = {key: given.get(key, value) for key, value in run.config.items()}
        first = seen[kind]
        for key in run.config.keys() | first.keys():
            if first.get(key, ABSENT) != run.config.get(key, ABSENT) and is_compared(key, run):
                found.add(key)
    in_order = dict.fromkeys(key for first in seen.values() for key in first)
    chosen = [choice for choice in CHOICES if len({run.config.get(choice) for run in runs}) > 1]
    return [*chosen, *(key for key in in_order if key in found), *sorted(found - in_order.keys())]


def choices_of(run: Run) -> tuple[Any, ...]:
    return tuple(run.config.get(choice) for choice in CHOICES)


def is_compared(key: str, run: Run) -> bool:
    return key != "seed" and makes_the_run(key, run.config)


def short_names(keys: Sequence[str]) -> dict[str, str]:
    """`lr` for `optim.lr`, where no other key ends so."""
    ends = Counter(key.rpartition(".")[2] for key in keys)
    return {key: end if ends[end := key.rpartition(".")[2]] == 1 else key for key in keys}


def brief(text: str) -> str:
    """What is too long for a line of many loses its middle."""
    return align(text, min(len(text), LONGEST), left=True)


def shown(value: Any) -> str:
    """A value of a config as it is typed."""
    if isinstance(value, (list, tuple)):
        return f"[{','.join(map(shown, value))}]"
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else "null" if value is None else str(value)
