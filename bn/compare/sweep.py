"""The members of a sweep: their names, and a table of differing keys, accuracies and means over seeds."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from bn.run.commands import listing
from bn.run.directory import ENDED, RunDirectory
from bn.run.formatting import format_duration
from bn.run.state import RunState, state_of

NUMBERS = ("accuracy", "mean ± 95% interval")


class SweepMember(NamedTuple):
    overrides: Sequence[str]  # as typed, such as "optim.lr=1"
    run: RunDirectory


def differing_keys(members: Sequence[SweepMember]) -> dict[str, list[str]]:
    """The keys whose values differ, with each member's value; the seed comes last. Empty for one member."""
    parts = [[override.lstrip("+").partition("=") for override in one.overrides] for one in members]
    typed = [{key: value for key, _, value in own} for own in parts]
    columns = {key: [own.get(key, "") for own in typed] for own in typed for key in own}
    found = {key: values for key, values in columns.items() if len(set(values)) > 1}
    return dict(sorted(found.items(), key=lambda item: item[0] == "seed"))


def member_names(members: Sequence[SweepMember]) -> list[str]:
    """Name each member by what distinguishes it from the others: "mnist_bn optim.lr=1 seed=0"."""
    columns = differing_keys(members)
    if not columns:
        return [member.run.name for member in members]
    parts = [
        [value if key == "experiment" else f"{key}={value}" for value in values]
        for key, values in columns.items()
    ]
    return [" ".join(own) for own in zip(*parts, strict=True)]


def sweep_summary(members: Sequence[SweepMember], took_s: float | None = None) -> list[str]:
    """The final lines of a sweep: a table of its members, their outcomes, and the next command."""
    states = [state_of(member.run.path) for member in members]
    found = [_state(member.run, state) for member, state in zip(members, states, strict=True)]
    after = "" if took_s is None else f", after {format_duration(took_s)}"
    if all(state in ENDED for state in found):
        next_command = listing(members[0].run.config.output)
    else:
        again = " with hydra.sweeper.failed=again, once the cause is fixed" * ("failed" in found)
        next_command = f"the same command{again}"
    line = f"train.py: {count_states(len(members), found)}{after}; next: {next_command}"
    return [*table(members, states), line]


def count_states(total: int, states: Iterable[str]) -> str:
    """Count the states of members of a sweep: 4 of 6 finished, 1 failed, 1 interrupted."""
    counts = Counter("finished" if state in ENDED else state for state in states)
    others = (f"{count} {state}" for state, count in sorted(counts.items()) if state != "finished")
    return ", ".join([f"{counts['finished']} of {total} finished", *others])


def table(members: Sequence[SweepMember], states: Sequence[RunState]) -> list[str]:
    """A header and a line for each member, grouped by setting, with the mean over its seeds."""
    columns = differing_keys(members)
    settings: dict[tuple[str, ...], list[int]] = {}
    for i in range(len(members)):
        setting = tuple(values[i] for key, values in columns.items() if key != "seed")
        settings.setdefault(setting, []).append(i)
    rows = [[*(columns or ["run"]), *NUMBERS]]
    for seeds in settings.values():
        for i in seeds:
            own = [values[i] for values in columns.values()] or [members[i].run.name]
            mean = _mean([states[j] for j in seeds]) if i == seeds[0] else ""
            rows.append([*own, _result(members[i].run, states[i]), mean])
    if not any(row[-1] for row in rows[1:]):
        rows = [row[:-1] for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    padded = [[cell.ljust(width) for cell, width in zip(row, widths, strict=True)] for row in rows]
    return ["  ".join(row).rstrip() for row in padded]


def _result(run: RunDirectory, state: RunState) -> str:
    accuracy = "" if state.accuracy is None else f"{state.accuracy:.2%}"
    return accuracy if accuracy and state.state == "done" else f"{_state(run, state)} {accuracy}".rstrip()


def _state(run: RunDirectory, state: RunState) -> str:
    return state.state if run.path.exists() else "not started"


def _mean(states: Sequence[RunState]) -> str:
    """The mean over seeds that are done: 97.54 ± 0.04 (n = 5); empty for fewer than two."""
    found = [100 * state.accuracy for state in states if state.state == "done" and state.accuracy is not None]
    if len(found) < 2:
        return ""
    from bn.compare.intervals import mean_and_interval  # scipy is slow to import

    mean, half = mean_and_interval(found)
    return f"{mean:.2f} ± {half:.2f} (n = {len(found)})"
