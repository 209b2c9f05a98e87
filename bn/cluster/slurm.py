"""This process's SLURM job and the queue, through SLURM's own commands.

SLURM's accounting is not needed: squeue and the run directories provide everything.
"""

import os
import signal
import subprocess
import time

ENDING_S = 60.0  # how long a process waits for SLURM to end it after requeueing its job
TRIES = 3


def queue() -> dict[str, str] | None:
    """Return the state (PENDING, RUNNING, ...) of each of the user's jobs by id; None: no answer."""
    answer = _ask("squeue", "--noheader", "--array", "--user", str(os.getuid()), "--format", "%i %T")
    if answer is None:
        return None
    return dict(line.split(maxsplit=1) for line in answer.splitlines())


def state_of(job: str) -> tuple[str, str] | None:
    """Return a job's state and the reason for it ("None", "TimeLimit", ...); None: no answer."""
    answer = _ask("squeue", "--noheader", "--job", job, "--format", "%T %r")
    state, _, reason = (answer or "").strip().partition(" ")
    return (state, reason) if state else None


def time_left_s(job: str) -> int | None:
    """Return the seconds until the job reaches its time limit; None if it has none, or without an answer."""
    answer = _ask("squeue", "--noheader", "--job", job, "--format", "%L")
    return _seconds(answer.strip()) if answer else None


def requeue(job: str) -> str | None:
    """Requeue this running job under the same id. Return None, or SLURM's reason for refusing."""
    try:
        done = subprocess.run(["scontrol", "requeue", job], capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    if done.returncode <= 0:  # below 0: scontrol was killed together with the job that it requeued
        return None
    return " ".join((done.stderr or done.stdout).split())


def wait_for_the_end() -> None:
    """Wait for SLURM to end this process: if it exited first, the job could end before it is requeued."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    time.sleep(ENDING_S)


def _ask(*command: str) -> str | None:
    """Return a command's output; None if it fails TRIES times, as it may while the controller restarts."""
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
    """Parse squeue's [days-][[hours:]minutes:]seconds; None for a word such as UNLIMITED."""
    days, _, clock = text.rpartition("-")
    try:
        seconds = 0
        for part in clock.split(":"):
            seconds = 60 * seconds + int(part)
        return seconds + 86400 * int(days or 0)
    except ValueError:
        return None
