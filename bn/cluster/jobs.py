"""A sweep's jobs, watched until all are over: by their run directories, and by what squeue shows."""

import contextlib
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from bn.cluster.slurm import queue
from bn.cluster.submission import submission
from bn.files import Damaged
from bn.run.commands import listing
from bn.run.directory import ENDED, RunDirectory
from bn.run.members import SweepMember
from bn.run.signals import stop_signal
from bn.run.watching import LOOK_S, Watched

ASK_S = 10.0  # between two questions to SLURM's controller, which the whole cluster asks
GONE = 2  # answers without a job, after which it is gone: between two states it may be missing from one


class Member(NamedTuple):
    run: RunDirectory
    job: str  # its id, as squeue shows it


def watch(
    members: Sequence[Member], typed: Sequence[Sequence[str]] = (), before: Sequence[str] = ()
) -> list[tuple[str, str]]:
    """Of each member, in their order, the state it ended in and one line about it, printed as soon as known.

    `typed` are the overrides of each, `before` the states of the sweep's other members, which are over.

    A member is over when its run has ended or failed, or when its job has left the queue: then it was
    interrupted for good, or is lost. KeyboardInterrupt, after a line that says what goes on and how to stop
    it, where this process is told to stop: the jobs do not depend on it.
    """
    outcomes: dict[int, tuple[str, str]] = {}
    missing = dict.fromkeys(range(len(members)), 0)
    asked = 0.0
    pairs = zip(typed or [()] * len(members), members, strict=True)
    told = Watched([SweepMember(overrides, run) for overrides, (run, _) in pairs], before)
    with contextlib.closing(told), _stopped(members, missing):
        while missing:
            if stop_signal():
                raise KeyboardInterrupt
            answer = None
            if time.monotonic() - asked >= ASK_S:
                answer, asked = queue(), time.monotonic()
            for i in list(missing):
                run, job = members[i]
                status = run.status
                if status.get("job") != job and status.get("state") not in ENDED:
                    status = {}  # that of an earlier job
                if answer is not None:
                    missing[i] = 0 if job in answer else missing[i] + 1
                if status.get("state") in (*ENDED, "failed"):
                    outcomes[i] = (status["state"], run.summary())
                elif missing[i] >= GONE:
                    outcomes[i] = _left(run, job, status.get("state"))
                else:
                    continue
                del missing[i]
                told.over(i, *outcomes[i])
            told.show()
            time.sleep(LOOK_S)
    return [outcomes[i] for i in range(len(members))]


def _left(run: RunDirectory, job: str, state: str | None) -> tuple[str, str]:
    """Of a member whose job has left the queue before its end."""
    if state == "interrupted":
        return state, f"{run.summary()}: the same command resumes it"
    log = None
    with contextlib.suppress(Damaged):
        log = submission(run).get("log")
    where = f"; its log: {log}, its errors: {Path(log).with_suffix('.err')}" if log else ""
    return "lost", (
        f"{run.name}: job {job} is gone (cancelled, killed, out of memory, or its node was lost): "
        f"the same command resumes it{where}"
    )


@contextlib.contextmanager
def _stopped(members: Sequence[Member], left: Mapping[int, int]) -> Iterator[None]:
    """Say what goes on where this process is told to stop, also while it waits for an answer of SLURM's."""
    try:
        yield
    except KeyboardInterrupt:
        _say_what_stays([members[i] for i in left])
        raise


def _say_what_stays(members: Sequence[Member]) -> None:
    arrays = sorted({member.job.partition("_")[0] for member in members}, key=int)
    shown = listing(members[0].run.config.output)
    print(
        f"train.py: {len(members)} members stay in the queue: `{shown}` lists them, "
        f"`scancel {' '.join(arrays)}` cancels them, the same command waits for them again",
        file=sys.stderr,
    )
