"""Calls of SLURM's commands and how their output is parsed."""

import pytest

from bn.cluster import slurm as of_slurm
from bn.run.environment import job_id


def test_the_job_of_this_process(slurm, monkeypatch):
    assert job_id() is None
    monkeypatch.setenv("SLURM_JOB_ID", "127")
    assert job_id() == "127"
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "123")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "0")
    assert job_id() == "123_0"


def test_the_queue(slurm):
    slurm.queue = "123_0 RUNNING\n123_1 PENDING\n99 COMPLETING\n"
    assert of_slurm.queue() == {"123_0": "RUNNING", "123_1": "PENDING", "99": "COMPLETING"}
    slurm.queue = ""
    assert of_slurm.queue() == {}
    slurm.queue = None  # the controller is down
    assert of_slurm.queue() is None


def test_no_slurm_here(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert of_slurm.queue() is None
    assert of_slurm.time_left_s("1") is None
    assert "scontrol" in str(of_slurm.requeue("1"))


@pytest.mark.parametrize(
    ("printed", "seconds"),
    [("0:37", 37), ("1:00", 60), ("2:03:04", 7384), ("1-00:00:10", 86410), ("UNLIMITED", None), ("", None)],
)
def test_the_time_left(slurm, printed, seconds):
    slurm.left = f"{printed}\n"
    assert of_slurm.time_left_s("123_4") == seconds
