"""The SLURM job that this process is part of, if any, and the queue: through SLURM's own commands.

Accounting is not needed: what squeue shows, and the run directories, say everything that is asked here.
"""

import os
import signal
import subprocess
import time

ENDING_S = 60.0  # how long a process that put its job back into the queue waits for SLURM to end it

TRIES = 3


def job_id() -> str | None:
    """The id of this process's job, as squeue shows it: 123, or 123_4 in an array. None outside SLURM."""
    array, task = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    return f"{array}_{task}" if array and task else os.environ.get("SLURM_JOB_ID") or None


def queue() -> dict[str, str] | None:
    """The state (PENDING, RUNNING, COMPLETING, ...) of each job of this user by id; None: no answer."""
    answer = _ask("squeue", "--noheader", "--array", "--user", str(os.getuid()), "--format", "%i %T")
    if answer is None:
        return None
    return dict(line.split(maxsplit=1) for line in answer.splitlines())


def state_of(job: str) -> tuple[str, str] | None:
    """A job's state and the reason for it (None: there is none; TimeLimit); None: no answer."""
    answer = _ask("squeue", "--noheader", "--job", job, "--format", "%T %r")
    state, _, reason = (answer or "").strip().partition(" ")
    return (state, reason) if state else None


def time_left_s(job: str) -> int | None:
    """Seconds until the job reaches its time limit; None where there is none, or no answer."""
    answer = _ask("squeue", "--noheader", "--job", job, "--format", "%L")
    return _seconds(answer.strip()) if answer else None


def requeue(job: str) -> str | None:
    """Put this running job back into the queue, where it keeps its id. None, or what SLURM has against it."""
    try:
        done = subprocess.run(["scontrol", "requeue", job], capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    if done.returncode <= 0:  # below 0: it was killed with the job that it had put back
        return None
    return " ".join((done.stderr or done.stdout).split())


def wait_for_the_end() -> None:
    """Until SLURM ends this process: if it left earlier, the job could end before it is put back."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    time.sleep(ENDING_S)


def _ask(*command: str) -> str | None:
    """What a command prints. None if it fails three times, as it does while the controller restarts."""
    for attempt in range(TRIES):
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=20)
        except FileNotFoundError:
            return None
        except subprocess.TimeoutExpired:
            continue
        if done.returncode == 0:
            return done.stdout
        time.sleep(attempt)
    return None


def _seconds(text: str) -> int | None:
    """Of squeue's [days-][[hours:]minutes:]seconds; None of a word such as UNLIMITED."""
    days, _, clock = text.rpartition("-")
    try:
        parts = [int(part) for part in clock.split(":")]
        seconds = 0
        for part in parts:
            seconds = 60 * seconds + part
        return seconds + 86400 * int(days or 0)
    except ValueError:
        return None
