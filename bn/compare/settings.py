"""Groups runs that differ only in their seeds into settings, and finds the keys that differ."""

import os
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

from bn.compare.runs import Run, debug_choices, identifies_run, natural_key
from bn.compare.terminal import shortened
from bn.config.notation import typed
from bn.errors import printable

ABSENT = "-"  # shown for a key that a run does not have
# Groups that set many keys, with their neutral choice. Keys are compared among runs with equal choices only.
CHOICES = {"scale": "null", "debug": "none"}
LONGEST = 24  # characters of a value in a line of several


class Setting(NamedTuple):
    """Runs that differ only in their seeds."""

    experiment: str
    values: dict[str, str]  # formatted values of the keys in which settings differ
    runs: list[Run]  # sorted by seed

    def name(self) -> str:
        """Such as `mnist_bn, lr=0.1`."""
        short = short_names(list(self.values))
        values = [
            f"{short[key]}={shortened(value, LONGEST)}"
            for key, value in self.values.items()
            if value not in (ABSENT, CHOICES.get(key))
        ]
        return ", ".join([self.experiment, *values])


def settings(runs: Sequence[Run]) -> list[Setting]:
    """The settings of the runs, sorted by name. Runs without a readable config are left out."""
    keys = differing_keys(runs)
    groups: dict[Any, list[Run]] = {}
    for run in runs:
        if run.config:
            items = sorted((key, repr(value)) for key, value in run.config.items() if is_compared(key, run))
            groups.setdefault((run.state.experiment, *items), []).append(run)
    found = [
        Setting(
            group[0].state.experiment,
            {key: shown(group[0].config.get(key, ABSENT)) for key in keys},
            sorted(group, key=lambda run: run.config.get("seed", 0)),
        )
        for group in groups.values()
    ]
    return sorted(found, key=lambda setting: natural_key(setting.name()))


def samples(runs: Sequence[Run]) -> tuple[list[Setting], list[str]]:
    """The settings with one run per seed, and a line for each run that is left out.

    A repeated or copied run of a seed is not another sample, and would narrow the interval. The first run is
    kept, which is a finished one if there is any.
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
    return groups, [printable(f"left out: {os.path.relpath(run.path)}: {reason}") for run, reason in left_out]


def differing_keys(runs: Sequence[Run]) -> list[str]:
    """The differing CHOICES, then the keys in which runs of one experiment and equal choices differ.

    The seed is left out, as are keys that have the value set by the experiment or a choice.
    """
    runs = [run for run in runs if run.config]
    found: set[str] = set()
    seen: dict[Any, dict[str, Any]] = {}  # the values of the first run of each kind
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
    return key != "seed" and identifies_run(key, run.config)


def short_names(keys: Sequence[str]) -> dict[str, str]:
    """`lr` for `optim.lr`, unless another key has the same last part."""
    ends = Counter(key.rpartition(".")[2] for key in keys)
    return {key: end if ends[end := key.rpartition(".")[2]] == 1 else key for key in keys}


def shown(value: Any) -> str:
    """Format a value of a config as it is typed, floats with six digits."""
    return f"{value:g}" if isinstance(value, float) else typed(value)
