"""What becomes of a SLURM job whose run was told to stop: back into the queue, unless somebody ended it.

SLURM tells a job to stop with the signal asked for before its time limit (SIGUSR2 here), and with SIGTERM for
preemption, for scancel, and at the time limit itself. At that moment the job is RUNNING where it has a grace
time: it is put back here, since one that just ends in that time does not come back. Else it is COMPLETING:
where the reason is the time limit it is put back too; where it was cancelled that would bring it to life;
where SLURM has put it back itself (preemption without a grace time, scontrol requeue) nothing is left to do.

That is for jobs of a sweep, and for scripts that ask for it (BN_REQUEUE=1, as scripts/slurm/train.sbatch): in
any other, such as one that somebody works in, a run is only a part.
"""

import os
import signal
from typing import NamedTuple

from bn.cluster import slurm
from bn.cluster.submission import count_time_limit
from bn.run.directory import RunDirectory

RESUMES = "the same command resumes it"
ASKED = "BN_REQUEUE"
WITH_TIME = ("RUNNING", "SIGNALING")
EARLY_S = 60  # SLURM may send the signal so much before it was asked to


class Limits(NamedTuple):
    """Of a job that a sweep submitted (configs/hydra/launcher/slurm.yaml)."""

    signal_delay_s: int
    max_num_timeout: int


def wanted(number: int, limits: Limits | None) -> bool:
    """Whether this process's job, if it is in one, is to be put back after signal `number`."""
    asked = limits is not None or os.environ.get(ASKED) == "1"
    return slurm.job_id() is not None and asked and number != signal.SIGINT


def put_back(run: RunDirectory, number: int, limits: Limits | None) -> str:
    """Requeue this process's job; then it does not return before SLURM ends it. Else why not, in a few words.

    `run` has been saved and closed, after signal `number`. Without `limits` a job is put back however often
    it has reached its time limit.
    """
    job = slurm.job_id()
    if job is None or not wanted(number, limits):
        return RESUMES
    name, step = signal.Signals(number).name, run.status.get("step", 0)
    why_not = _why_not(run, job, number, limits)
    if why_not is None:
        run.set_status("interrupted", step, f"{name}: back in the queue as job {job}")
        print(f"train.py: {run.summary()}", flush=True)  # for the job's log: it may not come to another line
        refusal = slurm.requeue(job)
        if refusal is None:
            slurm.wait_for_the_end()
            return f"back in the queue as job {job}"
        why_not = f"cannot be put back into the queue ({refusal})"
    run.set_status("interrupted", step, f"{name}; job {job} {why_not}")
    return RESUMES


def _why_not(run: RunDirectory, job: str, number: int, limits: Limits | None) -> str | None:
    found = slurm.state_of(job)
    if found is None:
        return "is not put back into the queue, as squeue does not answer"
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
