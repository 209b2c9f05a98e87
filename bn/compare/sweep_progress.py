"""Shows the progress of a sweep: members finished and running, their accuracies, and the time left.

On a terminal the lines are redrawn; elsewhere a line is printed from time to time. Each member's outcome is
printed once, as soon as it ends. Everything is read from the run directories, wherever the members run.
"""

import contextlib
import os
import sys
import textwrap
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from bn.compare.sweep import SweepMember, count_states, member_names
from bn.errors import printable
from bn.run.directory import ENDED
from bn.run.formatting import format_duration
from bn.run.state import RunState, state_of

POLL_S = 1.0  # between two reads of the run directories
EVERY_S = 30.0  # between two lines where there is no terminal
LEAST = 0.05  # of one member's steps to do before the time left is estimated
MOST = 8  # running members that are shown


class SweepProgress:
    """The progress of `members`, which are being trained. `before`: the states of members that had ended."""

    def __init__(self, members: Sequence[SweepMember], before: Sequence[str] = ()) -> None:
        self.members = members
        self.left = set(range(len(members)))
        self._names = member_names(members)
        self._ended = list(before)  # states
        self._total = len(before) + len(members)
        self._out, self._err = sys.stdout, sys.stderr  # a member in this process may replace them
        self._terminal = self._err.isatty()
        self._drawn = False
        self._printed_at = time.monotonic()
        self._began: float | None = None  # when the first member was seen to run
        self._done = [0.0] * len(members)  # share of its steps that each member has done
        self._done_at_first = [0.0] * len(members)  # the same when the first was seen to run

    def report_end(self, i: int, state: str, line: str) -> None:
        """Print the outcome of member `i`, to stderr unless it is a result."""
        self.left.discard(i)
        self._ended.append(state)
        if state in ENDED:
            self._done[i] = 1.0
        else:
            self._done_at_first[i] = self._done[i] = 0.0  # not used to estimate the time left
        self.close()
        with contextlib.suppress(OSError):  # the terminal is gone
            stream = self._out if state in ENDED else self._err
            print(f"train.py: {len(self._ended)} of {self._total}: {line}", file=stream, flush=True)
        self._printed_at = time.monotonic()

    def update(self) -> None:
        """Show the other members, if it is time to."""
        if not self._terminal and time.monotonic() - self._printed_at < EVERY_S and self._began is not None:
            return
        states = {i: state_of(self.members[i].run.path) for i in sorted(self.left)}
        running = {i: state for i, state in states.items() if state.state == "running"}
        for i, state in states.items():
            self._done[i] = min(1.0, (state.step or 0) / state.steps) if state.steps else 0.0
        if running and self._began is None:
            self._began, self._done_at_first = time.monotonic(), list(self._done)
        waiting = len(self.left) - len(running)
        head = f"{count_states(self._total, self._ended)}, {len(running)} running, {waiting} waiting"
        left_s = self._left_s()
        head += "" if left_s is None else f"; about {format_duration(left_s)} left"
        if self._terminal:
            self._draw([*textwrap.wrap(head, self._size()[0] - 1), *self._lines(running)])
        elif time.monotonic() - self._printed_at >= EVERY_S:
            self._printed_at = time.monotonic()
            shown = [f"{self._names[i]} {_accuracy(state)}".rstrip() for i, state in running.items()]
            more = ["..."] * (len(shown) > MOST)
            line = f"train.py: {head}: {', '.join((*shown[:MOST], *more))}".removesuffix(": ")
            with contextlib.suppress(OSError):
                print(line, file=self._out, flush=True)

    def _left_s(self) -> float | None:
        """Estimated, assuming that all members take equally long and as many run at once as before."""
        done = sum(self._done) - sum(self._done_at_first)
        if self._began is None or done < LEAST:
            return None
        rest = sum(1 - self._done[i] for i in self.left)
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
        """Redraw the lines in one write, since other processes write to this terminal too."""
        columns, rows = self._size()
        shown = [_cut(printable(line), columns - 1) for line in lines[: max(1, rows - 1)]]
        up = f"\x1b[{len(shown) - 1}A" * (len(shown) > 1)
        self._write("\r\x1b[J" + "\n".join(shown) + up + "\r")
        self._drawn = True

    def _size(self) -> tuple[int, int]:
        """Columns and rows."""
        with contextlib.suppress(OSError, ValueError):
            columns, rows = os.get_terminal_size(self._err.fileno())
            if columns and rows:  # some terminals report 0
                return columns, rows
        return 80, 24

    def close(self) -> None:
        """Erase the lines that were drawn."""
        if self._drawn:
            self._write("\r\x1b[J")
            self._drawn = False

    def _write(self, text: str) -> None:
        with contextlib.suppress(OSError):
            self._err.write(text)
            self._err.flush()


@contextlib.contextmanager
def show_sweep(members: Sequence[SweepMember], before: Sequence[str]) -> Iterator[None]:
    """Show the progress of `members` while the block trains them on this machine."""
    progress = SweepProgress(members, before)
    at_first = [_changed(member.run.path) for member in members]
    stopped = threading.Event()

    def poll() -> None:
        for i in sorted(progress.left):
            run = members[i].run
            if _changed(run.path) == at_first[i]:
                continue  # not started yet: its status is from an earlier start
            state = run.status.get("state", "")
            if state in ENDED:
                progress.report_end(i, state, run.summary())
            elif state == "interrupted":
                progress.report_end(i, state, f"{run.summary()}: the same command resumes it")
            elif state == "failed":
                progress.report_end(i, state, f"{run.summary()} (more in {run.name}/train.log)")
        progress.update()

    def poll_until_stopped() -> None:
        while not stopped.wait(POLL_S):
            poll()

    thread = threading.Thread(target=poll_until_stopped, name="sweep", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()
        poll()  # for members that ended since
        progress.close()


def _accuracy(state: RunState) -> str:
    return "" if state.accuracy is None else f"{state.accuracy:.2%}"


def _changed(path: Path) -> int:
    """When a run last wrote its status; 0 if it has none."""
    try:
        return (path / "status.json").stat().st_mtime_ns
    except OSError:
        return 0


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: max(width - 1, 0)]}…"
