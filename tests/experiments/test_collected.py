"""The runs that a figure uses, and those it refuses."""

import json
import math

import pytest

from bn.errors import UserError
from experiments import collected

ACCURACY = {100: 0.3, 200: 0.4, 300: 0.5}


def test_runs_that_have_not_ended_are_left_out(ended_run):
    runs = [ended_run("bn_x5", seed, ACCURACY) for seed in range(5)]
    for run, state in zip(runs, ("running", "interrupted", "failed"), strict=False):
        run.set_status(state, 200)
    runs[3].set_status("diverged", 301)
    assert collected.ended(runs) == runs[3:]


def test_a_needed_experiment_of_which_none_has_ended_is_named(ended_run):
    runs = [ended_run("bn_x5", 0, ACCURACY), ended_run("inception", 0, ACCURACY)]
    assert collected.ended(runs, needed=("bn_x5", "inception")) == runs
    runs[1].set_status("running", 200)
    assert collected.ended(runs) == runs[:1]
    with pytest.raises(UserError, match=r"^inception: none of its 1 runs has ended$"):
        collected.ended(runs, needed=("inception",))
    runs[0].set_status("running", 200)
    with pytest.raises(UserError, match=r"^bn_x5: none of its 1 runs has ended$"):
        collected.ended(runs)


def test_a_record_that_lacks_an_evaluation_is_refused_by_name(ended_run):
    complete = ended_run("bn_x5", 0, ACCURACY)
    lacking = ended_run("bn_x5", 1, {100: 0.3, 300: 0.5})
    with pytest.raises(
        UserError, match=r"seed_1/metrics\.jsonl: 1 of 3 evaluations are missing, the first at step 200:"
    ):
        collected.ended([complete, lacking])


def test_a_record_cut_short_is_refused(ended_run):
    run = ended_run("bn_x5", 0, ACCURACY)
    path = run.path / "metrics.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:1]))
    with pytest.raises(UserError, match="2 of 3 evaluations are missing, the first at step 200"):
        collected.ended([run])


def test_a_diverged_run_has_the_evaluations_before_its_end(ended_run):
    """Nothing is recorded at the step by which divergence is noticed."""
    run = ended_run("inception_x5", 0, {100: 0.2}, end=200, diverged=True)
    assert collected.ended([run]) == [run]
    later = ended_run("inception_x5", 1, {100: 0.2}, end=201, diverged=True)
    with pytest.raises(UserError, match="1 of 2 evaluations are missing, the first at step 200"):
        collected.ended([later])


def test_a_shorter_experiment_is_complete_at_its_own_end(ended_run):
    run = ended_run("bn_x5", 0, {100: 0.3, 150: 0.5}, changes={"steps_factor": 0.5})
    assert collected.ended([run]) == [run]


@pytest.mark.parametrize(
    ("one", "other", "named"),
    [
        ({"device": "cpu"}, {"device": "cuda"}, "device is cpu and cuda"),
        ({"torch": "2.5.0"}, {"torch": "2.6.0"}, "torch is 2.5.0 and 2.6.0"),
        (
            {"changes": {"precision": "float32"}},
            {"changes": {"precision": "bf16"}},
            "precision is float32 and bf16",
        ),
        ({"changes": {"compile": "auto"}}, {"changes": {"compile": "never"}}, "compile is auto and never"),
    ],
)
def test_runs_computed_in_different_ways_are_not_one_figure(ended_run, one, other, named):
    runs = [ended_run("inception", 0, ACCURACY, **one), ended_run("bn_x5", 1, ACCURACY, **other)]
    with pytest.raises(UserError, match=rf"inception/\S*seed_0 and \S*bn_x5/\S*seed_1: {named}"):
        collected.ended(runs)
    runs[1].set_status("running", 100)
    assert collected.ended(runs) == runs[:1]


def test_nor_is_a_run_that_went_on_on_another_device(ended_run):
    run = ended_run("bn_x5", 0, ACCURACY)
    path = run.path / "env.json"
    env = json.loads(path.read_text())
    env["resumed"] = [{**env, "device": {"type": "cuda", "name": "a GPU"}, "step": 200}]
    path.write_text(json.dumps(env))
    with pytest.raises(UserError, match="device is cpu and cuda"):
        collected.ended([run])


def test_a_directory_with_a_run_of_another_config_is_refused(ended_run):
    """Without training nothing else has checked it."""
    run = ended_run("bn_x5", 0, ACCURACY)
    path = run.path / "config.yaml"
    path.write_text(path.read_text().replace("lr_factor: 5.0", "lr_factor: 7.0"))
    with pytest.raises(UserError, match=r"optim\.lr_factor \(there 7\.0, here 5\.0\)"):
        collected.ended([run])


def test_the_origin_of_runs_names_their_commits_devices_and_versions():
    def run(commit, device):
        return {"commit": commit, "torch": "2.5.0", "device": {"name": device}}

    runs = [run("b" * 40, "X"), run("a" * 40, "X"), run("a" * 40, "X")]
    assert collected.origin({"runs": runs}) == (
        "The numbers come from 3 runs on X, with torch 2.5.0, at commits aaaaaaa and bbbbbbb."
    )
    assert collected.origin({"runs": [run(None, "Y, 2 cores")]}, "Those on the left") == (
        "Those on the left come from 1 run on Y (2 cores), with torch 2.5.0, at commit unknown."
    )


def test_below_a_table_come_paragraphs_and_lists():
    assert collected.document(["| a |", "|---|"], "One.", ("two", "three"), "") == (
        "| a |\n|---|\n\nOne.\n\n- two\n- three\n"
    )


def test_the_interval_of_ratios_is_that_of_their_logarithms():
    mean, low, high = collected.ratio_and_interval([2.0, 8.0, 4.0])
    assert mean == pytest.approx(4.0)
    half = 4.302653 * math.log(2) / 3**0.5  # their logarithms have the standard deviation log 2
    assert (low, high) == pytest.approx((4 * math.exp(-half), 4 * math.exp(half)))


def test_numbers_as_text():
    assert collected.mean_text([1.0, 2.0, 3.0], 2) == "2.00 ± 2.48"
    assert collected.mean_text([1.0], 1, "+") == "+1.0"
    assert collected.mean_text([-0.001, -0.002], 2, "+") == "+0.00 ± 0.01"
    assert collected.mean_text([1000.0, 3000.0], 0) == "2,000 ± 12,706"
    assert collected.ratio_text([3.0]) == "3.00"
    assert collected.ratio_text([1.0, 3.0]) == "1.73 (< 0.01 to > 1,000)"
    assert collected.ratio_text([11.0, 11.0]) == "11.0 (11.0 to 11.0)"
    assert collected.seeds_text([3, 3]) == "n = 3 seeds"
    assert collected.seeds_text([1]) == "n = 1 seed"
    assert collected.seeds_text([5, 2]) == "n = 2 to 5 seeds"
