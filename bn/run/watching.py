"""A sweep while it runs: how each member ended, which run and how well, and how long the rest will take.

On a terminal these are lines that are redrawn; elsewhere a line comes from time to time. All of it is read
from the run directories, wherever the members run.
"""

import contextlib
import os
import sys
import textwrap
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from bn.errors import printable
from bn.run.commands import listing
from bn.run.directory import ENDED, RunDirectory
from bn.run.state import RunState, state_of
from bn.run.telling import duration

LOOK_S = 1.0  # between two looks at the run directories
EVERY_S = 30.0  # between two lines where there is no terminal
LEAST = 0.05  # of one member, before which nothing is said of the time left
MOST = 8  # running members that are shown


class Watched:
    """The members of a sweep that are trained now; `before`: the states of the others, which are over."""

    def __init__(self, runs: Sequence[RunDirectory], before: Sequence[str] = ()) -> None:
        self.runs = runs
        self.left = set(range(len(runs)))
        self._names = names(runs)
        self._over = list(before)
        self._total = len(runs) + len(self._over)
        self._out, self._err = sys.stdout, sys.stderr  # which a member in this process may replace
        self._terminal = self._err.isatty()
        self._drawn = False
        self._said_at = time.monotonic()
        self._began: float | None = None  # when the first was seen to run
        self._at_first: dict[int, float] = {}  # the share of its steps that each had done then

    def over(self, i: int, state: str, line: str) -> None:
        """Say how a member ended, on stderr if that is not a result."""
        self.left.discard(i)
        self._over.append(state)
        if state not in ENDED:
            self._at_first.pop(i, None)  # of the time left it says nothing
        self._clear()
        self._print(f"{len(self._over)} of {self._total}: {line}", failed=state not in ENDED)

    def show(self) -> None:
        """Show how the others are doing, when it is time to."""
        due = time.monotonic() - self._said_at >= EVERY_S
        if not (self._terminal or due or self._began is None):
            return
        states = {i: state_of(self.runs[i].path) for i in sorted(self.left)}
        running = {self._names[i]: state for i, state in states.items() if state.state == "running"}
        if running and self._began is None:
            self._began = time.monotonic()
            self._at_first = {i: _share(state) for i, state in states.items()}
        head = f"{counted(self._total, self._over)}, {len(running)} running"
        head += f", {len(self.left) - len(running)} waiting{self._time_left(states)}"
        shown, more = list(running.items())[:MOST], max(0, len(running) - MOST)
        if self._terminal:
            lines = [
                f"  {_accuracy(state):>7}  {name}  {state.step or 0:,} of {state.steps or 0:,} steps"
                for name, state in shown
            ]
            self._draw(head, [*lines, *[f"  and {more} more"] * bool(more)])
        elif due:
            each = [f"{name} {_accuracy(state)}" for name, state in shown]
            self._print(f"{head}: {', '.join([*each, *['...'] * bool(more)])}".removesuffix(": "))

    def close(self) -> None:
        self._clear()

    def _time_left(self, states: dict[int, RunState]) -> str:
        """Assuming that all members take equally long, and that as many run at once as so far."""
        done = sum(_share(states[i]) if i in states else 1.0 for i in self._at_first)
        done -= sum(self._at_first.values())
        if self._began is None or done < LEAST:
            return ""
        rest = sum(1.0 - _share(state) for state in states.values())
        return f"; about {duration((time.monotonic() - self._began) / done * rest)} left"

    def _print(self, line: str, failed: bool = False) -> None:
        self._said_at = time.monotonic()
        with contextlib.suppress(OSError):  # a terminal or a reader that is gone
            print(f"train.py: {line}", file=self._err if failed else self._out, flush=True)

    def _draw(self, head: str, members: Sequence[str]) -> None:
        """Replace what was drawn before, in one write: other processes write to this terminal too."""
        columns, rows = 80, 24
        with contextlib.suppress(OSError):
            columns, rows = os.get_terminal_size(self._err.fileno())
        columns, rows = columns or 80, rows or 24  # some terminals do not know
        lines = [*textwrap.wrap(head, columns - 1), *(printable(line)[: columns - 1] for line in members)]
        lines = lines[: max(1, rows - 1)]
        up = f"\x1b[{len(lines) - 1}A" * (len(lines) > 1)
        self._write("\r\x1b[J" + "\n".join(lines) + up + "\r")
        self._drawn = True

    def _clear(self) -> None:
        if self._drawn:
            self._write("\r\x1b[J")
            self._drawn = False

    def _write(self, text: str) -> None:
        with contextlib.suppress(OSError):
            self._err.write(text)
            self._err.flush()


def names(runs: Sequence[RunDirectory]) -> list[str]:
    """Of each run the parts of its path that not all have: `mnist_bn optim.lr-1.0 seed_0`."""
    parts = [[part for folder in run.path.parts for part in folder.split("__")] for run in runs]
    shared = set.intersection(*map(set, parts)) if len(parts) > 1 else set()
    return [
        " ".join(part for part in own if part not in shared) if shared else run.name
        for run, own in zip(runs, parts, strict=True)
    ]


def _share(state: RunState) -> float:
    return min(1.0, (state.step or 0) / state.steps) if state.steps else 0.0


def _accuracy(state: RunState) -> str:
    return "-" if state.accuracy is None else f"{state.accuracy:.2%}"


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
