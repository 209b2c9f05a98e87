"""The table of the networks at the paper's own base learning rate, from synthetic runs."""

from experiments import figure2, paper_rate
from tests.experiments.conftest import cells_of

LOW = {"optim.lr": 0.0015}


def test_the_table_says_what_the_runs_say(ended_run, tmp_path):
    figure2.collect(
        [
            ended_run("inception", 0, {100: 0.2, 200: 0.4, 300: 0.6}),
            ended_run("bn_x30", 0, {100: 0.2, 200: 0.25, 300: 0.3}, population=0.31),
            ended_run("bn_x30", 1, {100: 0.1, 200: 0.1, 300: 0.1}, population=0.1),
        ],
        tmp_path / "figure2",
    )
    here = [
        ended_run("bn_x30", 0, {100: 0.5, 200: 0.7, 300: 0.65}, population=0.66, changes=LOW, device="cuda"),
        ended_run("bn_x30", 1, {100: 0.5, 200: 0.7, 300: 0.75}, population=0.76, changes=LOW, device="cuda"),
        ended_run("inception", 0, {100: 0.2, 200: 0.3, 300: 0.4}, changes=LOW, device="cuda"),
    ]
    paper_rate.collect(here, tmp_path / "paper_rate")
    paper_rate.draw(tmp_path / "paper_rate", tmp_path)
    rows, lines = cells_of(tmp_path), (tmp_path / "table.md").read_text().splitlines()
    assert rows[""][4] == "steps to 60.0%"
    # Two values: 12.706 times half their distance.
    assert rows["BN-x30"] == [
        "0.045", "2", "72.50 ± 31.77", "71.00 ± 63.53", "150 ± 0",
        "0.48", "2", "30.00, 10.00", "31.00, 10.00",
    ]  # fmt: skip
    assert rows["Inception"] == ["0.0015", "1", "40.00", "40.00", "never", "0.016", "1", "60.00", "60.00"]
    assert "the paper's, 0.0015." in lines[-1]
    assert "Left: 3 runs on made up; torch " in lines[-1]
