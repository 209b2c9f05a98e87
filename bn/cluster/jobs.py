"""Waits for the SLURM jobs of a sweep, by reading their run directories and squeue."""

import contextlib
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from bn.cluster.slurm import queue
from bn.compare.sweep import SweepMember
from bn.compare.sweep_progress import POLL_S, SweepProgress
from bn.files import Damaged
from bn.run.commands import listing
from bn.run.directory import ENDED, RunDirectory
from bn.run.submission import submission
from bn.signals import stop_signal

SQUEUE_S = 10.0  # between two calls of squeue, since the whole cluster shares SLURM's controller
GONE = 2  # squeue answers without a job after which it counts as gone; between states one may lack it


class Member(NamedTuple):
    run: RunDirectory
    job: str  # its id, as squeue shows it


def wait_for_jobs(
    members: Sequence[Member], overrides: Sequence[Sequence[str]] = (), before: Sequence[str] = ()
) -> list[tuple[str, str]]:
    """Wait for all members, print each outcome as soon as it is known, and return their states and messages.

    `overrides`: those of each member. `before`: the states of the sweep's other members, which have ended.

    A member has ended when its run has ended or failed, or when its job has left the queue: then it was
    interrupted and not requeued, or is lost. If this process is stopped, raises KeyboardInterrupt after a
    line that says which jobs continue and how to cancel them.
    """
    outcomes: dict[int, tuple[str, str]] = {}
    missing = dict.fromkeys(range(len(members)), 0)
    asked = 0.0
    pairs = zip(overrides or [()] * len(members), members, strict=True)
    progress = SweepProgress([SweepMember(own, run) for own, (run, _) in pairs], before)
    with contextlib.closing(progress), _explain_interrupt(members, missing):
        while missing:
            if stop_signal():
                raise KeyboardInterrupt
            answer = None
            if time.monotonic() - asked >= SQUEUE_S:
                answer, asked = queue(), time.monotonic()
            for i in list(missing):
                run, job = members[i]
                status = run.status
                if status.get("job") != job and status.get("state") not in ENDED:
                    status = {}  # from an earlier job
                if answer is not None:
                    missing[i] = 0 if job in answer else missing[i] + 1
                if status.get("state") in (*ENDED, "failed"):
                    outcomes[i] = (status["state"], run.summary())
                elif missing[i] >= GONE:
                    outcomes[i] = _outcome_of_gone(run, job, status.get("state"))
                else:
                    continue
                del missing[i]
                progress.report_end(i, *outcomes[i])
            progress.update()
            time.sleep(POLL_S)
    return [outcomes[i] for i in range(len(members))]


def _outcome_of_gone(run: RunDirectory, job: str, state: str | None) -> tuple[str, str]:
    """The outcome of a member whose job left the queue before the run ended."""
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
def _explain_interrupt(members: Sequence[Member], left: Mapping[int, int]) -> Iterator[None]:
    """Print which jobs continue if the block is interrupted, also during a call to SLURM."""
    try:
        yield
    except KeyboardInterrupt:
        remaining = [members[i] for i in left]
        arrays = sorted({member.job.partition("_")[0] for member in remaining}, key=int)
        shown = listing(remaining[0].run.config.output)
        print(
            f"train.py: {len(remaining)} members stay in the queue: `{shown}` lists them, "
            f"`scancel {' '.join(arrays)}` cancels them, the same command waits for them again",
            file=sys.stderr,
        )
        raise
