"""One run, from its checked config to its outcome, whatever happens to it on the way.

Nothing raises from here once the run directory is open: an exception would end a sweep for its other members.
"""

import contextlib
import signal
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from typing import Any

from bn.cluster.requeue import RESUMES, Limits, put_back, wanted
from bn.cluster.slurm import job_id, wait_for_the_end
from bn.cluster.submission import check_submission, submission
from bn.config import Config
from bn.data.availability import check_data, fetch_data
from bn.distributed.ranks import Ranks, check_shared
from bn.errors import Interrupted, UserError, is_out_of_memory, reason_of
from bn.run.beginning import check_beginning, extend
from bn.run.code_state import code_state
from bn.run.directory import NoRunDirectory, RunDirectory
from bn.run.ending import last_lines
from bn.run.lock import InUse
from bn.run.signals import stop_signal

# In a job: how long the process of its last start, on a node that was lost, may seem to hold the directory.
PATIENCE_S = 180.0

Outcome = tuple[str, str]  # the state a run ended in, and one line about it
Work = Callable[[Config, RunDirectory], None]


def attempt(
    run: RunDirectory, ranks: Ranks, launcher: Mapping[str, Any], work: Work, quiet: bool = False
) -> Outcome:
    """Train `run` as one of `ranks`. `launcher` is what started the sweep it is of, if any.

    Prints what becomes of it. `quiet`: what is said while the directory is open goes to its train.log alone.

    A rank other than 0 writes nothing, and its line is empty unless it has to say why it failed itself.
    UserError for what cannot be trained here, or is in use; nothing has been written then. In a job that was
    submitted for this run nobody would see the error, so there it is recorded.
    """
    if ranks.rank:
        run = NoRunDirectory(run.path, run.config)
    limits = None
    if "max_num_timeout" in launcher:
        limits = Limits(launcher["signal_delay_s"], launcher["max_num_timeout"])
    if early := _begin(run, ranks, launcher, limits):
        if not quiet:
            _tell(run, early)
        return early
    if ranks.rank:
        outcome = _go_on(run, ranks, limits, work)
        _tell(run, outcome)
        return outcome
    from bn.run.transcript import copied, note  # they import tqdm, which --help should not wait for

    began = time.monotonic()
    note(run.path, f"{time.strftime('%Y-%m-%d %H:%M:%S%z')}: {run.command}\n")
    with copied(run.path, shown=not quiet):
        _say_other_code(run)
        outcome = _go_on(run, ranks, limits, work)
        _tell(run, outcome, time.monotonic() - began)
    if quiet and run.status.get("state") != outcome[0]:  # as on a full disk: whoever watches cannot know
        _tell(run, outcome)
    return outcome


def _tell(run: RunDirectory, outcome: Outcome, took_s: float | None = None) -> None:
    """Print the end of a run, at once; on stderr if it failed or ran out of memory (no signal stopped it)."""
    state, line = outcome
    if not line:
        return  # another rank says it
    first, *others = last_lines(run, state, line, took_s)
    signalled = stop_signal() is not None or run.status.get("reason") in signal.Signals.__members__
    wrong = state == "failed" or (state == "interrupted" and not signalled)
    print(first, file=sys.stderr if wrong else sys.stdout, flush=True)
    if others:
        print(*others, sep="\n", flush=True)


def _begin(
    run: RunDirectory, ranks: Ranks, launcher: Mapping[str, Any], limits: Limits | None
) -> Outcome | None:
    """Open the run directory; the outcome where there is nothing to train.

    What cannot be trained is a UserError, and recorded as a failure in the job that was submitted for it.
    """
    job = job_id()
    try:
        return _check_and_open(run, ranks, launcher, limits, job)
    except UserError as error:
        if isinstance(error, InUse) or job is None or submission(run).get("job", "") not in (None, job):
            raise
        state, line = _record_failure(run, error)
        return state, "" if ranks.rank else line


def _check_and_open(
    run: RunDirectory, ranks: Ranks, launcher: Mapping[str, Any], limits: Limits | None, job: str | None
) -> Outcome | None:
    check_device(run.config, ranks)
    run.check_config()
    check_beginning(run)
    if run.finished:
        run.check_records()
        other = run.other_code(code_state())
        since = f"; {other}: to train with this code, choose another output=..." if other else ""
        return run.status["state"], "" if ranks.rank else f"{run.summary()} (finished before{since})"
    check_shared(run.config, ranks.size)
    check_data(run.config)
    if ranks.rank == 0:
        fetch_data(run.config)
    if job is not None and launcher.get("changed") == "stop":
        check_submission(run, job)
    if (number := stop_signal()) is not None:
        _told_to_stop(run, ranks, number, limits)
        return "interrupted", "" if ranks.rank else f"{run.name}: not started"
    _open(run, 0.0 if job is None else PATIENCE_S)
    return None


def _say_other_code(run: RunDirectory) -> None:
    if other := run.other_code(code_state()):
        advice = "to start over with this code, choose another output=..."
        print(f"{run.name}: resumes with changed code: {other}: {advice}", file=sys.stderr, flush=True)


def _go_on(run: RunDirectory, ranks: Ranks, limits: Limits | None, work: Work) -> Outcome:
    """Work in the open run directory, and close it."""
    try:
        if not ranks.rank:
            extend(run)
        work(run.config, run)
    except Interrupted as interruption:
        number = interruption.signal
    except Exception as error:
        return _record_failure(run, error)
    else:
        return ("done", "") if ranks.rank else (run.status["state"], run.summary())
    finally:
        run.close()
    what_next = _told_to_stop(run, ranks, number, limits)
    return "interrupted", "" if ranks.rank else f"{run.summary()}: {what_next}"


def check_device(config: Config, ranks: Ranks) -> None:
    """UserError where the device is not here, or processes would have to share one."""
    if config.device == "cuda":
        from bn.train import select_device

        select_device(config.device)
    if ranks.size > 1 and config.device != "cpu":
        from bn.distributed.team import check_gpus

        check_gpus(config, ranks)


def _open(run: RunDirectory, patience_s: float) -> None:
    end = time.monotonic() + patience_s
    while True:
        try:
            return run.open()
        except InUse:
            if time.monotonic() >= end or stop_signal():
                raise
            time.sleep(1)


def _told_to_stop(run: RunDirectory, ranks: Ranks, number: int, limits: Limits | None) -> str:
    """What comes next, in a few words; it may be that SLURM ends this process first."""
    if ranks.rank:
        if wanted(number, limits):
            wait_for_the_end()  # while rank 0 puts the job back into the queue
        return ""
    with contextlib.suppress(OSError):  # as of a full disk, which refuses the status
        return put_back(run, number, limits)
    return RESUMES


def _record_failure(run: RunDirectory, error: Exception) -> Outcome:
    """What a run that raised leaves behind.

    A run out of memory is interrupted, as if the kernel had killed it: the same command resumes it. No job is
    requeued for that, and a sweep does not try it twice: the user decides whether to try again.
    """
    reason = reason_of(error)
    state, advice = ("interrupted", f": {RESUMES}") if is_out_of_memory(error) else ("failed", "")
    if not isinstance(error, (UserError, OSError)) and state == "failed":
        traceback.print_exc()
    if not run.finished:
        # A full disk may refuse even this line.
        with contextlib.suppress(OSError):
            run.set_status(state, run.status.get("step", 0), reason)
    return state, f"{run.name}: {reason}{advice}"
