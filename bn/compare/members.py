"""The members of a sweep side by side: the keys that differ, the accuracies, the mean over seeds."""

from collections.abc import Sequence

from bn.compare.intervals import mean_and_interval
from bn.compare.runs import Run
from bn.compare.settings import settings, short_names
from bn.compare.table import aligned
from bn.config import flatten, to_dict
from bn.run.directory import RunDirectory
from bn.run.state import state_of


def members_table(members: Sequence[RunDirectory]) -> list[str]:
    """The lines of a Markdown table with a row for each member, started or not."""
    groups = settings([_run(member) for member in members])
    keys = short_names(list(groups[0].values)).values()
    rows = [["experiment", *keys, "seed", "accuracy (%)", "mean ± 95% interval"]]
    for group in groups:
        states = [run.state for run in group.runs if run.state.state == "done"]
        done = [100 * state.accuracy for state in states if state.accuracy is not None]
        mean = ""
        if len(done) > 1:
            mean, half = mean_and_interval(done)
            mean = f"{mean:.2f} ± {half:.2f} (n = {len(done)})"
        for run in group.runs:
            accuracy = "" if run.state.accuracy is None else f"{100 * run.state.accuracy:.2f}"
            state = "" if run.state.state == "done" else run.state.state
            result = f"{state} {accuracy}".strip()
            rows.append([group.experiment, *group.values.values(), str(run.config["seed"]), result, mean])
            mean = ""
    return aligned([*zip(*rows, strict=True)])


def _run(member: RunDirectory) -> Run:
    state = state_of(member.path)._replace(experiment=member.config.experiment)
    if not member.path.exists():
        state = state._replace(state="not started")
    return Run(state, {**flatten(to_dict(member.config)), "debug": "none"})
