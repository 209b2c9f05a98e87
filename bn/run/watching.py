"""A sweep while it runs: how many members are over, which run and how well, and how long the rest will take.

On a terminal these are lines that are redrawn; elsewhere a line comes from time to time. How a member ended
is said at once, and once. All of it is read from the run directories, wherever the members run.
"""

import contextlib
import os
import sys
import textwrap
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from bn.errors import printable
from bn.run.directory import ENDED
from bn.run.members import SweepMember, counted, names
from bn.run.state import RunState, state_of
from bn.run.telling import duration

LOOK_S = 1.0  # between two looks at the run directories
EVERY_S = 30.0  # between two lines where there is no terminal
LEAST = 0.05  # of one member, before which nothing is said of the time left
MOST = 8  # running members that are shown


class Watched:
    """The members of a sweep that are trained now; `before`: the states of the others, which are over."""

    def __init__(self, members: Sequence[SweepMember], before: Sequence[str] = ()) -> None:
        self.members = members
        self.left = set(range(len(members)))
        self._names = names(members)
        self._over = list(before)
        self._out, self._err = sys.stdout, sys.stderr  # which a member in this process may replace
        self._terminal = self._err.isatty()
        self._drawn = False
        self._said_at = time.monotonic()
        self._began: float | None = None  # when the first was seen to run
        self._shares = [0.0] * len(members)  # of its steps that each has done
        self._at_first = [0.0] * len(members)  # had done then

    def over(self, i: int, state: str, line: str) -> None:
        """Say how a member ended, on stderr if that is not a result."""
        self.left.discard(i)
        self._over.append(state)
        if state in ENDED:
            self._shares[i] = 1.0
        else:
            self._at_first[i] = self._shares[i] = 0.0  # of the time left it says nothing
        self._clear()
        with contextlib.suppress(OSError):  # a terminal that is gone
            stream = self._out if state in ENDED else self._err
            print(f"train.py: {len(self._over)} of {self._total}: {line}", file=stream, flush=True)
        self._said_at = time.monotonic()

    def show(self) -> None:
        """Show how the others are doing, when it is time to."""
        if not self._terminal and time.monotonic() - self._said_at < EVERY_S and self._began is not None:
            return
        states = {i: state_of(self.members[i].run.path) for i in sorted(self.left)}
        running = {i: state for i, state in states.items() if state.state == "running"}
        for i, state in states.items():
            self._shares[i] = _share(state)
        if running and self._began is None:
            self._began, self._at_first = time.monotonic(), list(self._shares)
        waiting = len(self.left) - len(running)
        head = f"{counted(self._total, self._over)}, {len(running)} running, {waiting} waiting"
        left_s = self._left_s()
        head += "" if left_s is None else f"; about {duration(left_s)} left"
        if self._terminal:
            self._draw([*textwrap.wrap(head, self._size()[0] - 1), *self._lines(running)])
        elif time.monotonic() - self._said_at >= EVERY_S:
            self._said_at = time.monotonic()
            shown = [f"{self._names[i]} {_accuracy(state)}".rstrip() for i, state in running.items()]
            more = ["..."] * (len(shown) > MOST)
            line = f"train.py: {head}: {', '.join((*shown[:MOST], *more))}".removesuffix(": ")
            with contextlib.suppress(OSError):
                print(line, file=self._out, flush=True)

    def close(self) -> None:
        self._clear()

    @property
    def _total(self) -> int:
        return len(self._over) + len(self.left)

    def _left_s(self) -> float | None:
        """Assuming that all members take equally long, and that as many run at once as so far."""
        done = sum(self._shares) - sum(self._at_first)
        if self._began is None or done < LEAST:
            return None
        rest = sum(1 - self._shares[i] for i in self.left)
        return (time.monotonic() - self._began) / done * rest

    def _lines(self, running: dict[int, RunState]) -> list[str]:
        shown = list(running.items())[:MOST]
        width = max((len(self._names[i]) for i, _ in shown), default=0)
        lines = []
        for i, state in shown:
            steps = f"{state.step or 0:,} of {state.steps or 0:,} steps"
            lines.append(f"  {_accuracy(state) or '-':>8}  {self._names[i]:{width}}  {steps}")
        return [*lines, *[f"  and {len(running) - MOST} more"] * (len(running) > MOST)]

    def _draw(self, lines: Sequence[str]) -> None:
        """Replace what was drawn before, in one write: other processes write to this terminal too."""
        columns, rows = self._size()
        shown = [_cut(printable(line), columns - 1) for line in lines[: max(1, rows - 1)]]
        up = f"\x1b[{len(shown) - 1}A" * (len(shown) > 1)
        self._write("\r\x1b[J" + "\n".join(shown) + up + "\r")
        self._drawn = True

    def _size(self) -> tuple[int, int]:
        """Columns and rows."""
        with contextlib.suppress(OSError, ValueError):
            columns, rows = os.get_terminal_size(self._err.fileno())
            if columns and rows:  # some terminals do not know
                return columns, rows
        return 80, 24

    def _clear(self) -> None:
        if self._drawn:
            self._write("\r\x1b[J")
            self._drawn = False

    def _write(self, text: str) -> None:
        with contextlib.suppress(OSError):
            self._err.write(text)
            self._err.flush()


@contextlib.contextmanager
def watched_here(members: Sequence[SweepMember], before: Sequence[str]) -> Iterator[None]:
    """Watch `members` while the block trains them on this machine."""
    told = Watched(members, before)
    at_first = [_changed(member.run.path) for member in members]
    stopped = threading.Event()

    def look() -> None:
        for i in sorted(told.left):
            run = told.members[i].run
            if _changed(run.path) == at_first[i]:
                continue  # it has not begun: what its status says is of an earlier start
            state = run.status.get("state", "")
            if state in ENDED:
                told.over(i, state, run.summary())
            elif state == "interrupted":
                told.over(i, state, f"{run.summary()}: the same command resumes it")
            elif state == "failed":
                told.over(i, state, f"{run.summary()} (more in {run.name}/train.log)")
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


def _share(state: RunState) -> float:
    return min(1.0, (state.step or 0) / state.steps) if state.steps else 0.0


def _accuracy(state: RunState) -> str:
    return "" if state.accuracy is None else f"{state.accuracy:.2%}"


def _changed(path: Path) -> int:
    """When a run last wrote its status, 0 where it has none."""
    try:
        return (path / "status.json").stat().st_mtime_ns
    except OSError:
        return 0


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: max(width - 1, 0)]}…"
