"""The choice of the base's learning rate, from synthetic runs."""

import json

import pytest

from experiments import base_rate, collected
from experiments.drawing import differences, make
from tests.experiments.conftest import cells_of

# By rate and decay: the accuracy of the last three evaluations, of which the last counts.
ACCURACY = {
    (0.001, 100): (0.6, 0.4, 0.47),
    (0.002, 100): (0.1, 0.5, 0.48),  # the best, though it has not the highest of all evaluations
    (0.004, 100): (0.3, 0.3, 0.4),
    (0.001, 50): (0.2, 0.2, 0.2),
    (0.002, 50): None,
}


@pytest.fixture
def runs(ended_run):
    made = []
    for (rate, every), values in ACCURACY.items():
        changes = {"optim.lr": rate, "optim.decay.every": every, "data.validation": 5000, "steps": 400}
        if values is None:
            run = ended_run("inception", 0, {100: 0.9}, end=150, diverged=True, changes=changes)
        else:
            steps = dict(zip((200, 300, 400), values, strict=True))
            run = ended_run("inception", 0, {100: 0.9, **steps}, changes=changes)
        made.append(run)
    return made


def drawn(runs, tmp_path):
    base_rate.collect(runs, tmp_path)
    base_rate.draw(tmp_path, tmp_path)
    return cells_of(tmp_path), (tmp_path / "table.md").read_text()


def test_the_highest_accuracy_at_the_end_is_chosen(runs, tmp_path):
    rows, text = drawn(runs, tmp_path)
    # 0.96 ** 4 = 0.849 and 0.96 ** 8 = 0.721 of the rate are left after 400 steps.
    assert rows["initial learning rate"] == [
        "x 0.96 every 100 steps, down to 0.85 of it",
        "x 0.96 every 50 steps, down to 0.72 of it",
    ]
    assert rows["0.001"] == ["47.00", "20.00"]
    assert rows["0.002"] == ["**48.00**", "diverged by step 150"]
    assert rows["0.004"] == ["40.00", "-"]
    assert "chosen (bold): learning rate 0.002, decay every 100 steps, at the edge of the decays" in text
    assert "on 5,000 training images that are held out" in text
    assert "about 0.7 points" in text  # 100 sqrt(0.48 x 0.52 / 5000)


def test_a_run_that_was_stopped_is_shown_and_not_chosen(runs, ended_run, tmp_path):
    changes = {"optim.lr": 0.008, "optim.decay.every": 100, "data.validation": 5000, "steps": 400}
    run = ended_run("inception", 0, {100: 0.7, 200: 0.8, 300: 0.9, 400: 0.9}, changes=changes)
    status = json.loads((run.path / "status.json").read_text())
    del status["records"]  # only a run that has ended has their digests
    (run.path / "status.json").write_text(json.dumps({**status, "state": "interrupted", "step": 310}))
    lines = (run.path / "metrics.jsonl").read_text().splitlines(keepends=True)
    kept = [line for line in lines if json.loads(line)["step"] <= 310]
    (run.path / "metrics.jsonl").write_text("".join(kept))
    rows, text = drawn([*runs, run], tmp_path)
    assert rows["0.008"] == ["90.00 (stopped at step 310)", "-"]
    assert "chosen (bold): learning rate 0.002, decay every 100 steps, at the edge of the decays" in text


def test_a_choice_at_the_edge_says_so(runs, tmp_path):
    _, text = drawn([*runs[:2], *runs[3:]], tmp_path)
    assert "decay every 100 steps, at the edge of the learning rates and of the decays tried. " in text


def test_of_equal_settings_the_lower_rate_is_chosen_and_none_if_all_diverged():
    assert base_rate.chosen({(0.2, 9): 0.5, (0.1, 9): 0.5, (0.3, 9): None}) == (0.1, 9)
    assert base_rate.chosen({(0.1, 9): None}) is None


def test_all_diverged(runs, tmp_path):
    rows, text = drawn(runs[4:], tmp_path)
    assert rows["0.002"] == ["diverged by step 150"]
    assert "None can be chosen, because all diverged." in text


def test_drawing_twice_gives_the_same_bytes(runs, tmp_path):
    base_rate.collect(runs, tmp_path / "base_rate")
    make("base_rate", base_rate, tmp_path)
    assert differences("base_rate", base_rate, tmp_path) == []
    assert [row["accuracy"] for row in collected.read_csv(tmp_path / "base_rate" / "final.csv")][4] == ""
