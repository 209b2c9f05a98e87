"""One run from its checked config to its outcome.

Once the run directory is open nothing raises: an exception would end the other members of a sweep.
"""

import contextlib
import signal
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from typing import Any

from bn.cluster.requeue import RESUMES, Limits, requeue_job, should_requeue
from bn.cluster.slurm import wait_for_the_end
from bn.config import Config
from bn.data.availability import check_data, fetch_data
from bn.distributed.ranks import Ranks, check_processes
from bn.errors import Interrupted, UserError, is_out_of_memory, reason_of
from bn.run.code_state import code_state
from bn.run.directory import NoRunDirectory, RunDirectory
from bn.run.environment import job_id
from bn.run.final_lines import final_lines
from bn.run.lock import InUse
from bn.run.submission import check_submission, submission
from bn.run.warm_start import check_warm_start, extend_run
from bn.signals import stop_signal

# In a SLURM job: how long to wait for the lock, which a process on a lost node may still seem to hold.
PATIENCE_S = 180.0

Outcome = tuple[str, str]  # final state and a one-line message
Work = Callable[[Config, RunDirectory], None]


def attempt(
    run: RunDirectory, ranks: Ranks, launcher: Mapping[str, Any], work: Work, quiet: bool = False
) -> Outcome:
    """Train `run` as one of `ranks` and print the outcome.

    `launcher`: the settings of the Hydra launcher. `quiet`: while the directory is open, write to its
    train.log only.

    Ranks other than 0 write nothing; their message is empty unless they failed themselves. Raises UserError,
    before anything is written, if the run cannot be trained here or is in use. In a SLURM job that was
    submitted for this run nobody would see the error, so it is recorded as a failure instead.
    """
    if ranks.rank:
        run = NoRunDirectory(run.path, run.config)
    limits = None
    if "max_num_timeout" in launcher:
        limits = Limits(launcher["signal_delay_s"], launcher["max_num_timeout"])
    if early := _begin(run, ranks, launcher, limits):
        if not quiet:
            _print_outcome(run, early)
        return early
    if ranks.rank:
        outcome = _work_and_close(run, ranks, limits, work)
        _print_outcome(run, outcome)
        return outcome
    from bn.run.transcript import append, copy_output  # import tqdm, which would delay --help

    began = time.monotonic()
    append(run.path, f"{time.strftime('%Y-%m-%d %H:%M:%S%z')}: {run.command}\n")
    with copy_output(run.path, shown=not quiet):
        if change := run.code_change(code_state()):
            advice = "to start over with this code, choose another output=..."
            print(f"{run.name}: resumes with changed code: {change}: {advice}", file=sys.stderr, flush=True)
        outcome = _work_and_close(run, ranks, limits, work)
        _print_outcome(run, outcome, time.monotonic() - began)
    if quiet and run.status.get("state") != outcome[0]:  # a full disk: the sweep cannot read it there
        _print_outcome(run, outcome)
    return outcome


def _print_outcome(run: RunDirectory, outcome: Outcome, took_s: float | None = None) -> None:
    """Print the final lines; to stderr if the run failed or was interrupted without a signal."""
    state, line = outcome
    if not line:
        return  # another rank prints it
    first, *others = final_lines(run, state, line, took_s)
    signalled = stop_signal() is not None or run.status.get("reason") in signal.Signals.__members__
    wrong = state == "failed" or (state == "interrupted" and not signalled)
    print(first, file=sys.stderr if wrong else sys.stdout, flush=True)
    if others:
        print(*others, sep="\n", flush=True)


def _begin(
    run: RunDirectory, ranks: Ranks, launcher: Mapping[str, Any], limits: Limits | None
) -> Outcome | None:
    """Open the run directory, or return the outcome if there is nothing to train.

    A UserError is recorded as a failure in the SLURM job that was submitted for this run, else raised.
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
    check_warm_start(run)
    if run.finished:
        run.check_records()
        change = run.code_change(code_state())
        since = f"; {change}: to train with this code, choose another output=..." if change else ""
        return run.status["state"], "" if ranks.rank else f"{run.summary()} (finished before{since})"
    check_processes(run.config, ranks.size)
    check_data(run.config)
    if ranks.rank == 0:
        fetch_data(run.config)
    if job is not None and launcher.get("changed") == "stop":
        check_submission(run, job)
    if (number := stop_signal()) is not None:
        _after_stop(run, ranks, number, limits)
        return "interrupted", "" if ranks.rank else f"{run.name}: not started"
    _open(run, 0.0 if job is None else PATIENCE_S)
    return None


def _work_and_close(run: RunDirectory, ranks: Ranks, limits: Limits | None, work: Work) -> Outcome:
    """Train in the open run directory, then close it."""
    try:
        if not ranks.rank:
            extend_run(run)
        work(run.config, run)
    except Interrupted as interruption:
        number = interruption.signal
    except Exception as error:
        return _record_failure(run, error)
    else:
        return ("done", "") if ranks.rank else (run.status["state"], run.summary())
    finally:
        run.close()
    next_step = _after_stop(run, ranks, number, limits)
    return "interrupted", "" if ranks.rank else f"{run.summary()}: {next_step}"


def check_device(config: Config, ranks: Ranks) -> None:
    """Raise UserError if the device is not available or processes would share a GPU."""
    if config.device == "cuda":
        from bn.run.device import select_device

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


def _after_stop(run: RunDirectory, ranks: Ranks, number: int, limits: Limits | None) -> str:
    """Requeue the SLURM job if wanted, and return what happens next. SLURM may end this process first."""
    if ranks.rank:
        if should_requeue(number, limits):
            wait_for_the_end()  # while rank 0 requeues the job
        return ""
    with contextlib.suppress(OSError):  # a full disk may refuse the status
        return requeue_job(run, number, limits)
    return RESUMES


def _record_failure(run: RunDirectory, error: Exception) -> Outcome:
    """Record a run that raised, and return its outcome.

    Running out of memory counts as an interruption, as if the kernel had killed the process: the same command
    resumes the run. The job is not requeued and a sweep does not retry it; that is left to the user.
    """
    reason = reason_of(error)
    state, advice = ("interrupted", f": {RESUMES}") if is_out_of_memory(error) else ("failed", "")
    if not isinstance(error, (UserError, OSError)) and state == "failed":
        traceback.print_exc()
    if not run.finished:
        with contextlib.suppress(OSError):  # a full disk may refuse even this
            run.set_status(state, run.status.get("step", 0), reason)
    return state, f"{run.name}: {reason}{advice}"
