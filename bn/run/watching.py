"""A sweep while it runs: how each member ended, said once, and on a terminal about how long it will take.

All of it is read from the run directories, wherever the members run.
"""

import contextlib
import sys
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from tqdm import tqdm

from bn.run.commands import listing
from bn.run.directory import ENDED, RunDirectory
from bn.run.state import RunState, state_of
from bn.run.telling import duration

LOOK_S = 1.0  # between two looks at the run directories
BAR = "{desc} |{bar}| {elapsed}, about {remaining} left"


class Watched:
    """The members of a sweep that are trained now; `before`: the states of the others, which are over."""

    def __init__(self, runs: Sequence[RunDirectory], before: Sequence[str] = ()) -> None:
        self.runs = runs
        self.left = set(range(len(runs)))
        self._over = list(before)
        self._total = len(runs) + len(self._over)
        self._streams = {True: sys.stdout, False: sys.stderr}  # which a member in this process may replace
        self._bar = tqdm(
            total=len(runs), bar_format=BAR, smoothing=0, disable=None, leave=False, dynamic_ncols=True
        )
        self._bar.initial = self._done([state_of(run.path) for run in runs])

    def over(self, i: int, state: str, line: str) -> None:
        """Say how a member ended, on stderr if that is not a result."""
        self.left.discard(i)
        self._over.append(state)
        self._bar.clear()
        with contextlib.suppress(OSError):  # a terminal that is gone
            said = f"train.py: {len(self._over)} of {self._total}: {line}"
            print(said, file=self._streams[state in ENDED], flush=True)

    def show(self) -> None:
        """Draw how the others are doing. The time left assumes that all members take equally long."""
        if self._bar.disable:
            return
        states = [state_of(self.runs[i].path) for i in sorted(self.left)]
        running = sum(state.state == "running" for state in states)
        self._bar.n = len(self.runs) - len(self.left) + self._done(states)
        self._bar.desc = f"{counted(self._total, self._over)}, {running} running"
        self._bar.refresh()

    def close(self) -> None:
        self._bar.close()

    @staticmethod
    def _done(states: Iterable[RunState]) -> float:
        """The shares of their steps that these have done, added up."""
        return sum(min(1.0, (state.step or 0) / state.steps) for state in states if state.steps)


@contextlib.contextmanager
def watched_here(runs: Sequence[RunDirectory], before: Sequence[str]) -> Iterator[None]:
    """Watch the members `runs` while the block trains them on this machine."""
    told = Watched(runs, before)
    at_first = [_changed(run.path) for run in runs]
    stopped = threading.Event()
    advice = {"interrupted": ": the same command resumes it", "failed": " (more in {}/train.log)"}

    def look() -> None:
        for i in sorted(told.left):
            run = runs[i]
            if _changed(run.path) == at_first[i]:
                continue  # it has not begun: what its status says is of an earlier start
            state = run.status.get("state", "")
            if state in (*ENDED, *advice):
                told.over(i, state, run.summary() + advice.get(state, "").format(run.name))
        told.show()

    def watch() -> None:
        while not stopped.wait(LOOK_S):
            look()

    thread = threading.Thread(target=watch, name="sweep", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()
        look()  # what ended since
        told.close()


def end_of_sweep(runs: Sequence[RunDirectory], took_s: float | None = None) -> str:
    """The last line of a sweep: what became of its members, and what to type next."""
    states = [state_of(run.path).state if run.path.exists() else "not started" for run in runs]
    after = "" if took_s is None else f", after {duration(took_s)}"
    if all(state in ENDED for state in states):
        experiments = ",".join(sorted({run.config.experiment for run in runs}))
        following = listing(runs[0].config.output, f"experiment={experiments}", subcommand="table")
    else:
        again = " with hydra.sweeper.failed=again, once the cause is fixed" * ("failed" in states)
        following = f"the same command{again}"
    return f"train.py: {counted(len(runs), states)}{after}; next: {following}"


def counted(total: int, states: Iterable[str]) -> str:
    """The states of the members of a sweep, all or some: 4 of 6 finished, 1 failed, 1 interrupted."""
    counts = Counter("finished" if state in ENDED else state for state in states)
    others = (f"{count} {state}" for state, count in sorted(counts.items()) if state != "finished")
    return ", ".join([f"{counts['finished']} of {total} finished", *others])


def _changed(path: Path) -> int:
    """When a run last wrote its status, 0 where it has none."""
    try:
        return (path / "status.json").stat().st_mtime_ns
    except OSError:
        return 0
