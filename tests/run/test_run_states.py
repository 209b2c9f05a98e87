"""The state of a run, read from its directory: whether it is queued, and its latest metrics."""

import json

import pytest

from bn.run.heartbeat import introduction
from bn.run.state import state_of
from tests.compare.fake_runs import ELSEWHERE, line, make_run, stat


@pytest.fixture
def make(tmp_path):
    return lambda name, **contents: make_run(tmp_path / "runs" / name, **contents)


class TestQueued:
    SUBMITTED = {"job": "12_4", "log": "runs/.sweeps/12_4.out", "config": {"steps": 1000}}  # noqa: RUF012

    def test_again_with_the_step_it_has(self, make):
        for state in ("interrupted", "failed", "running"):
            status = stat(state, 120, "SIGTERM", job="11")
            found = state_of(make(f"a/b/{state}", status=status, lock="", submitted=self.SUBMITTED))
            assert (found.state, found.step, found.steps) == ("queued", 120, 400)
            assert (found.job, found.log, found.reason) == ("12_4", "runs/.sweeps/12_4.out", None)

    @pytest.mark.parametrize("state", ["done", "diverged"])
    def test_never_when_it_has_ended(self, make, state):
        found = state_of(make("a/b/c", status=stat(state, 400, job="11"), submitted=self.SUBMITTED))
        assert (found.state, found.step) == (state, 400)

    @pytest.mark.parametrize("state", ["interrupted", "failed"])
    def test_no_longer_once_it_ran(self, make, state):
        status = stat(state, 120, "for a reason", job="12_4")
        path = make("a/b/c", status=status, lock="", submitted=self.SUBMITTED, first=["submitted.json"])
        found = state_of(path)
        assert (found.state, found.reason, found.job) == (state, "for a reason", "12_4")
        assert found.log == "runs/.sweeps/12_4.out"

    def test_started_but_no_status_yet(self, make):
        """While torch is imported, the status is still that of the previous start."""
        status = stat("interrupted", 120, "SIGTERM", job="11")
        path = make("a/b/c", status=status, submitted=self.SUBMITTED, lock=introduction())
        found = state_of(path)
        assert (found.state, found.step, found.job, found.reason) == ("running", 120, "12_4", None)

    def test_killed_before_its_first_status(self, make):
        first = ["submitted.json"]
        path = make("a/b/c", submitted=self.SUBMITTED, lock=ELSEWHERE, first=first)
        found = state_of(path)
        assert (found.state, found.job, found.log) == ("lost", "12_4", "runs/.sweeps/12_4.out")

    def test_before_there_is_a_job(self, make, tmp_path):
        found = state_of(make("a/b/c", submitted={**self.SUBMITTED, "job": None}))
        (found.path / "config.yaml").unlink()
        assert state_of(found.path)._replace(age=None) == found._replace(age=None)
        assert (found.state, found.steps, found.job, found.log) == ("queued", 1000, None, None)


@pytest.mark.parametrize(
    ("lines", "accuracy", "of"),
    [
        ([line(300, test_accuracy=0.9)], 0.9, "test/accuracy"),
        ([line(300, validation_accuracy=0.8, test_accuracy=0.9)], 0.9, "test/accuracy"),
        ([line(300, validation_accuracy=0.8)], 0.8, "validation/accuracy"),
        (
            [line(300, test_accuracy=0.9), line(400, test_accuracy=0.91, test_accuracy_population=0.92)],
            0.92, "test/accuracy_population",
        ),
        ([line(2, test_accuracy=0.9), *map(line, range(3, 5000)), '{"step": 9'], 0.9, "test/accuracy"),
        ([line(300)], None, None),
    ],
)  # fmt: skip
def test_the_latest_accuracy(make, lines, accuracy, of):
    found = state_of(make("a/b/c", metrics="".join(lines)))
    assert (found.accuracy, found.accuracy_of) == (accuracy, of)
    assert found.step == [json.loads(text)["step"] for text in lines if text.endswith("\n")][-1]


def test_a_failed_run_prints_the_step_that_is_listed(planned):
    """Its status holds the last saved step, its records reach to the last logged one."""
    run = planned("experiment=mnist_bn")
    run.path.mkdir(parents=True)
    (run.path / "metrics.jsonl").write_text('{"step": 100, "wall_s": 1.0}\n{"step": 120, "wall_s": 1.2}\n')
    run.set_status("failed", 0, "no space left")
    assert state_of(run.path).step == 120
    assert run.summary() == f"{run.name}: failed at step 120; no space left"
