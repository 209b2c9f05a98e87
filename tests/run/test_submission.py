"""A job runs the submitted code and config, or reports what has changed."""

import dataclasses
import json

import pytest

from bn.config import to_dict
from bn.errors import UserError
from bn.run.code_state import CodeState
from bn.run.directory import RunDirectory
from bn.run.submission import (
    check_submission,
    record_job,
    record_submission,
    submission,
    withdraw_submission,
)

COMMIT = "0123456789abcdef0123456789abcdef01234567"
CLEAN, DIRTY = CodeState(COMMIT, ""), CodeState(COMMIT, "--- a\n+++ b\n")


@pytest.fixture
def here(monkeypatch):
    """Set the state of the code."""
    return lambda state: monkeypatch.setattr("bn.run.submission.code_state", lambda: state)


@pytest.fixture
def run(planned):
    return planned("experiment=mnist_bn")


def submitted(run, code=CLEAN, job="123_4"):
    record_submission(run, code)
    record_job(run, job, run.path / "log")
    return run


def test_what_is_recorded(run):
    record_submission(run, DIRTY)
    found = submission(run)
    assert (found["job"], found["commit"], found["changes"]) == (None, COMMIT, DIRTY.digest)
    assert found["config"] == to_dict(run.config)
    assert (run.path / "submitted.diff").read_text() == DIRTY.changes
    record_job(run, "123_4", run.path / "log")
    assert (submission(run)["job"], submission(run)["log"]) == ("123_4", str(run.path / "log"))
    record_submission(run, CLEAN)
    assert sorted(path.name for path in run.path.iterdir()) == ["submitted.json"]
    withdraw_submission(run)
    assert list(run.path.iterdir()) == []


def test_nothing_has_changed(run, here):
    for code in (CLEAN, DIRTY, CodeState(None, "")):  # the last: no git, on both sides
        here(code)
        check_submission(submitted(run, code), "123_4")
    record_submission(run, CLEAN)  # the job started before its id was recorded
    here(CLEAN)
    check_submission(run, "123_4")


@pytest.mark.parametrize(
    ("then", "now", "part"),
    [
        (CLEAN, CodeState("f" * 40, ""), "the commit (then 0123456789, now ffffffffff)"),
        (CLEAN, CodeState(None, ""), "the commit (then 0123456789, now unknown: no git)"),
        (CLEAN, DIRTY, "the code (its differences from 0123456789 are not those in submitted.diff)"),
        (DIRTY, CLEAN, "the code (its differences from 0123456789 are not those in submitted.diff)"),
    ],
)
def test_the_code_has_changed(run, here, then, now, part):
    here(now)
    with pytest.raises(UserError) as error:
        check_submission(submitted(run, then), "123_4")
    assert str(error.value) == (
        f"changed since it was submitted: {part}: submit it again; hydra.launcher.changed=run runs it anyway"
    )


def test_the_config_has_changed(run, here):
    here(CLEAN)
    submitted(run)
    other = RunDirectory(run.path, dataclasses.replace(run.config, steps=7, log_every=3))
    with pytest.raises(UserError) as error:
        check_submission(other, "123_4")
    assert ": log_every (then 20, now 3), steps (then 120, now 7): " in str(error.value)
    # The destination of records may change.
    check_submission(RunDirectory(run.path, dataclasses.replace(run.config, output="elsewhere")), "123_4")


def test_other_jobs_and_runs_by_hand_are_not_checked(run, here):
    here(DIRTY)
    check_submission(run, "123_4")  # no submission
    check_submission(submitted(run), "200")
    (run.path / "submitted.json").write_text("{")
    with pytest.raises(
        UserError, match=r"submitted\.json: damaged \(not JSON\): restore it, or remove it once "
    ):
        check_submission(run, "123_4")


def test_a_folder_that_cannot_be_written(run):
    run.path.parent.mkdir(parents=True)
    run.path.write_text("a file where the folder should be")
    with pytest.raises(UserError, match=r"seed_0: cannot be written \(File exists\)"):
        record_submission(run, CLEAN)


def test_it_is_plain_json(run):
    assert json.loads((submitted(run).path / "submitted.json").read_text())["time_limits"] == 0
