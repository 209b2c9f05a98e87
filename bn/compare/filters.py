"""Selects runs by folder and by conditions on their state and config."""

import operator
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from bn.compare.runs import RUNS, Run, natural_key, runs_in
from bn.errors import UserError
from bn.files import REPOSITORY
from bn.run.state import STATES, RunState

COMPARE = {">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt}
OTHERS = "state, step, accuracy, age, debug"  # keys of conditions besides those of config.yaml
CONDITION = re.compile(r"([A-Za-z_][\w.]*)(>=|<=|!=|=|>|<)(.*)", re.DOTALL)


class Condition(NamedTuple):
    """A condition on a run, such as `optim.lr>=1`, `model.norm=batch,layer` or `optim=adam`."""

    text: str
    key: str
    operator: str
    accepted: list[Any]  # the values of = and !=, or the single limit of the other operators

    def holds(self, run: Run) -> bool:
        found = run.get(self.key)
        if self.operator in COMPARE:
            return _is_number(found) and COMPARE[self.operator](found, self.accepted[0])
        # In Python, True == 1; here a bool is not a number.
        same_kind = [value for value in self.accepted if isinstance(value, bool) == isinstance(found, bool)]
        return (found in same_kind) == (self.operator == "=")


def parse_condition(text: str) -> Condition | None:
    """Parse a condition; None if the text is not one. UserError for a value that no run can have."""
    if not (match := CONDITION.fullmatch(text)):
        return None
    key, sign, given = match.groups()
    try:
        accepted = [_number_or_text(value) for value in yaml.safe_load(f"[{given}]")]
    except yaml.YAMLError:
        accepted = []
    if not accepted or (sign in COMPARE and not (len(accepted) == 1 and _is_number(accepted[0]))):
        raise UserError(f"{text}: accepted: {key}{sign}{'NUMBER' if sign in COMPARE else 'VALUE[,VALUE]'}")
    if key == "accuracy" and any(_is_number(value) and not 0 <= value <= 1 for value in accepted):
        raise UserError(f"{text}: accepted: a share of 1, such as {key}{sign}0.9")
    if key == "state" and not STATES.keys() >= set(map(str, accepted)):
        raise UserError(f"{text}: accepted: {', '.join(STATES)}")
    return Condition(text, key, sign, accepted)


def _number_or_text(value: Any) -> Any:
    """Convert texts such as 1e-3, which YAML does not parse as a number."""
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def parse_selection(words: Iterable[str]) -> tuple[list[Path], list[Condition]]:
    """Split the arguments into folders (default: runs/) and conditions.

    An existing folder is never parsed as a condition. UserError for an argument that is neither.
    """
    folders, conditions = [], []
    for word in words:
        if Path(word).is_dir():
            folders.append(Path(word))
        elif found := parse_condition(word):
            conditions.append(found)
        else:
            raise UserError(f"{word}: no such folder; accepted: also KEY=VALUE, or a subcommand (--help)")
    return folders or [RUNS], conditions


def select_runs(folders: Sequence[Path], conditions: Sequence[Condition]) -> list[Run]:
    """The runs in the folders that meet all conditions, sorted by state, then by path.

    UserError for a key or experiment that does not exist.
    """
    runs = runs_in(folders)
    for each in conditions:
        check_key(runs, each.key)
        if each.key == "experiment":
            check_experiments(runs, each)
    order = list(STATES)
    found = [run for run in runs if all(each.holds(run) for each in conditions)]
    return sorted(found, key=lambda run: (order.index(run.state.state), natural_key(str(run.path))))


def select_some(words: Iterable[str]) -> list[Run]:
    """The runs selected by the arguments. UserError if there are none."""
    if runs := select_runs(*parse_selection(words)):
        return runs
    raise UserError("no runs here; accepted: other folders or conditions (runs.py list shows the runs)")


def check_key(runs: Sequence[Run], key: str) -> None:
    """UserError for a key that no run has."""
    known = {*RunState._fields, *(key for run in runs for key in run.config)}
    if runs and key not in known and f"{key}.name" not in known:
        import difflib  # slow to import

        near = difflib.get_close_matches(key, known, n=3, cutoff=0.7)
        near += [other for other in sorted(known) if other.endswith(f".{key}") and other not in near]
        shown = f"; similar: {', '.join(near)}" if near else ""
        raise UserError(f"{key}: no run here has this key; accepted: {OTHERS} or a key of config.yaml{shown}")


def check_experiments(runs: Sequence[Run], named: Condition) -> None:
    """UserError for an experiment that has neither a config nor a run."""
    known = {path.stem for path in (REPOSITORY / "configs" / "experiment").glob("*.yaml")}
    known |= {run.state.experiment for run in runs}
    if not known >= set(map(str, named.accepted)):
        raise UserError(f"{named.text}: accepted: {', '.join(sorted(known))}")
