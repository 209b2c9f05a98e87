"""Requeues the SLURM job of a run that received a stop signal, unless the job was cancelled.

SLURM sends the configured signal (SIGUSR2 here) before a job's time limit, and SIGTERM for preemption, for
scancel, and at the time limit itself. If the job then has a grace time, it is RUNNING: it is requeued here,
because SLURM does not requeue a job that ends within its grace time. Otherwise it is COMPLETING. If the
reason is the time limit, it is requeued as well. If it was cancelled, requeueing would revive it. If SLURM
has requeued it (preemption without a grace time, scontrol requeue), nothing is left to do.

This applies to jobs of a sweep and to scripts that set BN_REQUEUE=1, such as scripts/slurm/train.sbatch. In
other jobs, such as an interactive one, a run is only part of the job.
"""

import os
import signal
from typing import NamedTuple

from bn.cluster import slurm
from bn.run.directory import RunDirectory
from bn.run.environment import job_id
from bn.run.submission import count_time_limit

RESUMES = "the same command resumes it"
VARIABLE = "BN_REQUEUE"
WITH_TIME = ("RUNNING", "SIGNALING")
EARLY_S = 60  # SLURM may send the signal up to this much early


class Limits(NamedTuple):
    """Settings of a job that a sweep submitted (configs/hydra/launcher/slurm.yaml)."""

    signal_delay_s: int
    max_num_timeout: int


def should_requeue(number: int, limits: Limits | None) -> bool:
    """Return whether this process is in a job that should be requeued after signal `number`."""
    enabled = limits is not None or os.environ.get(VARIABLE) == "1"
    return job_id() is not None and enabled and number != signal.SIGINT


def requeue_job(run: RunDirectory, number: int, limits: Limits | None) -> str:
    """Requeue this process's job if it should be, record that in the status, and return what happens next.

    After requeueing, this waits for SLURM to end the process. `run` has been saved and closed after signal
    `number`. Without `limits` a job is requeued however often it reaches its time limit.
    """
    job = job_id()
    if job is None or not should_requeue(number, limits):
        return RESUMES
    name, step = signal.Signals(number).name, run.status.get("step", 0)
    why_not = _why_not(run, job, number, limits)
    if why_not is None:
        run.set_status("interrupted", step, f"{name}: requeued as job {job}")
        print(f"train.py: {run.summary()}", flush=True)  # for the job's log, before SLURM ends the process
        refusal = slurm.requeue(job)
        if refusal is None:
            slurm.wait_for_the_end()
            return f"requeued as job {job}"
        why_not = f"cannot be requeued ({refusal})"
    run.set_status("interrupted", step, f"{name}; job {job} {why_not}")
    return RESUMES


def _why_not(run: RunDirectory, job: str, number: int, limits: Limits | None) -> str | None:
    found = slurm.state_of(job)
    if found is None:
        return "is not requeued, since squeue does not answer"
    state, reason = found
    at_limit = reason == "TimeLimit"
    if state not in WITH_TIME and not at_limit:
        return f"is {state.lower()}"
    if limits is None:
        return None
    if number == signal.SIGUSR2:
        left = slurm.time_left_s(job)
        at_limit = left is not None and left <= limits.signal_delay_s + EARLY_S
    if at_limit:
        count = count_time_limit(run)
        if count > limits.max_num_timeout:
            return (
                f"has reached its time limit {count} times "
                f"(hydra.launcher.max_num_timeout={limits.max_num_timeout})"
            )
    return None
