"""What becomes of a SLURM job whose run was told to stop: back into the queue, unless somebody ended it.

SLURM tells a job to stop with the signal asked for before its time limit (SIGUSR2 here), and with SIGTERM for
preemption, for scancel, and at the time limit itself. At that moment the job is RUNNING where it has a grace
time: it is put back here, since one that just ends in that time does not come back. Else it is COMPLETING:
where the reason is the time limit it is put back too; where it was cancelled that would bring it to life;
where SLURM has put it back itself (preemption without a grace time, scontrol requeue) nothing is left to do.
"""

import signal
from typing import NamedTuple

from bn import slurm
from bn.records import RunDirectory
from bn.submission import count_time_limit

GOES_ON = "the same command goes on"
WITH_TIME = ("RUNNING", "SIGNALING")
EARLY_S = 60  # SLURM may send the signal so much before it was asked to


class Limits(NamedTuple):
    """Of a job that a sweep submitted (configs/hydra/launcher/slurm.yaml)."""

    signal_delay_s: int
    max_num_timeout: int


def put_back(run: RunDirectory, number: int, limits: Limits | None) -> str:
    """Requeue this process's job; then it does not return before SLURM ends it. Else why not, in a few words.

    `run` has been saved and closed, after signal `number`. Without `limits` a job is put back however often
    it has reached its time limit.
    """
    job = slurm.job_id()
    if job is None:
        return GOES_ON
    found = slurm.state_of(job)
    if found is None:
        return f"job {job} is not put back into the queue, as squeue does not answer; {GOES_ON}"
    state, reason = found
    at_limit = reason == "TimeLimit"
    if state not in WITH_TIME and not at_limit:
        return f"job {job} is {state.lower()}; {GOES_ON}"
    if number == signal.SIGUSR2 and limits is not None:
        left = slurm.time_left_s(job)
        at_limit = left is not None and left <= limits.signal_delay_s + EARLY_S
    if at_limit and limits is not None:
        count = count_time_limit(run)
        if count > limits.max_num_timeout:
            return (
                f"job {job} has reached its time limit {count} times "
                f"(hydra.launcher.max_num_timeout={limits.max_num_timeout}); {GOES_ON}"
            )
    name = signal.Signals(number).name
    run.set_status("interrupted", run.status["step"], f"{name}: back in the queue as job {job}")
    print(f"train.py: {run.summary()}", flush=True)  # for the job's log: it may not come to another line
    refusal = slurm.requeue(job)
    if refusal is None:
        slurm.wait_for_the_end()
        return f"back in the queue as job {job}"
    run.set_status("interrupted", run.status["step"], name)
    return f"job {job} cannot be put back into the queue ({refusal}); {GOES_ON}"
