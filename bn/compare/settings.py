"""Settings: runs that differ only in their seeds, and the keys in which settings differ."""

import os
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

from bn.compare.runs import Run, by_numbers, debug_choices, makes_the_run
from bn.compare.terminal import shortened
from bn.config.notation import typed
from bn.errors import printable

ABSENT = "-"  # of a key that a run does not have
# Each sets many keys, without this value: only runs with the same choices are compared key by key.
CHOICES = {"scale": "null", "debug": "none"}
LONGEST = 24  # characters of a value, where it is one of many on a line


class Setting(NamedTuple):
    """What the runs of several seeds have in common."""

    experiment: str
    values: dict[str, str]  # of the keys in which any settings differ, as they are shown
    runs: list[Run]  # by seed

    def name(self) -> str:
        """`mnist_bn, lr=0.1`."""
        short = short_names(list(self.values))
        values = [
            f"{short[key]}={shortened(value, LONGEST)}"
            for key, value in self.values.items()
            if value not in (ABSENT, CHOICES.get(key))
        ]
        return ", ".join([self.experiment, *values])


def settings(runs: Sequence[Run]) -> list[Setting]:
    """The runs by their settings, in the order of their names; those without a readable config left out."""
    keys = differing_keys(runs)
    groups: dict[Any, list[Run]] = {}
    for run in runs:
        if run.config:
            what = sorted((key, repr(value)) for key, value in run.config.items() if is_compared(key, run))
            groups.setdefault((run.state.experiment, *what), []).append(run)
    found = [
        Setting(
            group[0].state.experiment,
            {key: shown(group[0].config.get(key, ABSENT)) for key in keys},
            sorted(group, key=lambda run: run.config.get("seed", 0)),
        )
        for group in groups.values()
    ]
    return sorted(found, key=lambda setting: by_numbers(setting.name()))


def samples(runs: Sequence[Run]) -> tuple[list[Setting], list[str]]:
    """The settings with one run of each seed, and a line for each other run.

    The same seed trained again, or copied, is no other sample: it would narrow the interval. The first run
    counts, which is a finished one if there is one.
    """
    left_out = [(run, "its config is missing or damaged") for run in runs if not run.config]
    groups = []
    for group in settings(runs):
        of_seed: dict[Any, Run] = {}
        for run in group.runs:
            first = of_seed.setdefault(run.config.get("seed"), run)
            if first is not run:
                left_out.append((run, f"the setting and seed of {os.path.relpath(first.path)}"))
        groups.append(group._replace(runs=list(of_seed.values())))
    return groups, [printable(f"left out: {os.path.relpath(run.path)}: {why}") for run, why in left_out]


def differing_keys(runs: Sequence[Run]) -> list[str]:
    """The keys, other than the seed, in which runs of one experiment with the same choices differ.

    The choices that differ come first. What the experiment or a choice sets follows from it, and is left out
    unless a run has another value.
    """
    runs = [run for run in runs if run.config]
    found: set[str] = set()
    seen: dict[Any, dict[str, Any]] = {}  # the values of a first run
    for run in runs:
        kind = run.state.experiment, *(run.config.get(choice) for choice in CHOICES)
        if kind not in seen:
            given = debug_choices().get(run.config["debug"], {})
            seen[kind] = {key: given.get(key, value) for key, value in run.config.items()}
        first = seen[kind]
        for key in run.config.keys() | first.keys():
            if first.get(key, ABSENT) != run.config.get(key, ABSENT) and is_compared(key, run):
                found.add(key)
    in_order = dict.fromkeys(key for run in runs for key in run.config)
    chosen = [choice for choice in CHOICES if len({run.config.get(choice) for run in runs}) > 1]
    return [*chosen, *(key for key in in_order if key in found and key not in chosen)]


def is_compared(key: str, run: Run) -> bool:
    return key != "seed" and makes_the_run(key, run.config)


def short_names(keys: Sequence[str]) -> dict[str, str]:
    """`lr` for `optim.lr`, where no other key ends so."""
    ends = Counter(key.rpartition(".")[2] for key in keys)
    return {key: end if ends[end := key.rpartition(".")[2]] == 1 else key for key in keys}


def shown(value: Any) -> str:
    """A value of a config as it is typed, a number with six digits."""
    return f"{value:g}" if isinstance(value, float) else typed(value)
