"""Moving averages against Algorithm 2: table and rule from synthetic records, and the records of a run."""

from pathlib import Path

import pytest

from bn.run.directory import read_lines
from experiments import claims, moving_averages
from experiments.collected import write_csv


def records(folder: Path, differences=(0.001, 0.002, 0.004)):
    """Three learning rates, two seeds, two evaluations: 1.5 times the difference at first, then half."""
    rows = [
        (rate, seed, step, 0.9 + sign * (1.5 if step == 100 else -0.5) * size, 0.9)
        for rate, size in zip((0.1, 1, 10), differences, strict=True)
        for seed, sign in ((0, 1), (1, -1))
        for step in (100, 5000)
    ]
    header = ("rate", "seed", "step", "test_accuracy", "test_accuracy_population")
    write_csv(folder / "accuracy.csv", header, rows)


def test_the_table(tmp_path):
    records(tmp_path)
    moving_averages.draw(tmp_path, tmp_path)
    lines = [x for x in (tmp_path / "table.md").read_text().splitlines() if x.startswith("| 1 ")]
    (row,) = [[cell.strip() for cell in line.split("|")[2:-1]] for line in lines]
    assert row == ["0.20 ± 0.00", "0.30 ± 0.00", "0.30 ± 0.00", "90.00 ± 1.27", "90.00 ± 0.00"]


def test_the_records_are_those_of_a_run(trained, tmp_path):
    run = trained("experiment=mnist_bn", "evaluate.population=always")
    moving_averages.collect([run], tmp_path)
    ((rate, (steps, values)),) = moving_averages.read_paths(tmp_path).items()
    lines = [x for x in read_lines(run.path / "metrics.jsonl") if "test/accuracy" in x]
    assert (rate, steps.tolist()) == (0.1, [60, 120])
    assert values[0].tolist() == [[x["test/accuracy"], x["test/accuracy_population"]] for x in lines]


@pytest.mark.parametrize(
    ("differences", "verdict"),
    [
        ((0.004, 0.001, 0.004), "confirmed"),
        ((0.004, 0.001, 0.006), "partly"),
        ((0.006, 0.001, 0.001), "not confirmed"),
    ],
)
def test_the_rule_of_claim_27(tmp_path, differences, verdict):
    claim = next(claim for claim in claims.read_claims() if claim["number"] == 27)
    assert claims.judge(claim, tmp_path).verdict == "open"
    records(tmp_path / "moving_averages", differences)
    assert claims.judge(claim, tmp_path).verdict == verdict
