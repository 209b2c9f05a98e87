"""Records of what was submitted to SLURM, to check that a job runs exactly that.

Jobs may wait for hours and compose their config again when they start. Until then code and config may change.

submitted.json   job id, time, host, commit, digest of the changes, the resolved config, the job's log
submitted.diff   the uncommitted changes, if there were any
"""

import json
import platform
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bn.config import changes, to_dict
from bn.errors import UserError, listed
from bn.files import TEXT_OR_NONE, read_record, write_atomically
from bn.run.code_state import CodeState, code_state, short
from bn.run.directory import NOT_COMPARED, RunDirectory

FILE = "submitted.json"
DIFF = "submitted.diff"
SHAPE = {
    "job?": TEXT_OR_NONE, "commit?": TEXT_OR_NONE, "changes?": TEXT_OR_NONE, "config?": dict,
    "log?": TEXT_OR_NONE, "time_limits?": int,
}  # fmt: skip
REMEDY = "restore it, or remove it once no job of this run is in the queue"
ANYWAY = "hydra.launcher.changed=run runs it anyway"


def submission(run: RunDirectory) -> dict[str, Any]:
    """Read `submitted.json`; empty if there is none. Raises Damaged."""
    return read_record(run.path / FILE, SHAPE, REMEDY) or {}


def record_submission(run: RunDirectory, code: CodeState) -> None:
    """Record the submission before the job is queued, since it may start at once. Its id is added later."""
    try:
        run.path.mkdir(parents=True, exist_ok=True)
        if code.changes:
            write_atomically(run.path / DIFF, code.changes)
        else:
            (run.path / DIFF).unlink(missing_ok=True)
        _write(run, {
            "job": None,
            "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            "host": platform.node(),
            "commit": code.commit,
            "changes": code.digest,
            "config": to_dict(run.config),
            "log": None,
            "time_limits": 0,  # how often the job has reached its time limit
        })  # fmt: skip
    except OSError as error:
        raise UserError(f"{run.name}: cannot be written ({error.strerror})") from error


def withdraw_submission(run: RunDirectory) -> None:
    (run.path / FILE).unlink(missing_ok=True)
    (run.path / DIFF).unlink(missing_ok=True)


def record_job(run: RunDirectory, job: str, log: Path) -> None:
    _write(run, {**submission(run), "job": job, "log": str(log)})


def count_time_limit(run: RunDirectory) -> int:
    """Count one more time that the job has reached its time limit, and return the total."""
    submitted = submission(run)
    count = submitted.get("time_limits", 0) + 1
    _write(run, {**submitted, "time_limits": count})
    return count


def check_submission(run: RunDirectory, job: str) -> None:
    """Raise UserError if the code or config of this job is not what was submitted."""
    submitted = submission(run)
    if not submitted or submitted.get("job") not in (None, job):
        return  # not submitted by a sweep
    code = code_state()
    changed = []
    if code.commit != (commit := submitted.get("commit")):
        changed.append(f"the commit (then {short(commit)}, now {short(code.commit)})")
    elif code.digest != submitted.get("changes"):
        changed.append(f"the code (its differences from {short(code.commit)} are not those in {DIFF})")
    changed += [
        f"{key} (then {then}, now {now})"
        for key, (then, now) in changes(submitted.get("config", {}), run.config).items()
        if not key.startswith(NOT_COMPARED)
    ]
    if changed:
        raise UserError(f"changed since it was submitted: {listed(changed)}: submit it again; {ANYWAY}")


def _write(run: RunDirectory, submitted: Mapping[str, Any]) -> None:
    write_atomically(run.path / FILE, json.dumps(submitted, indent=2) + "\n")
