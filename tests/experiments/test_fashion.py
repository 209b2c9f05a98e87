"""The table of Fashion-MNIST, from synthetic records that can be checked by hand, and from runs."""

from statistics import fmean

import pytest

from bn.run.directory import read_lines
from experiments import collected, fashion


def drawn(tmp_path, accuracy):
    rows = [
        (network, seed, step, value, 0.85 if (network, step) == ("mnist_bn", 300) else "", 0.2 + 0.1 * seed)
        for network, seeds in accuracy.items()
        for seed, values in enumerate(seeds)
        for step, value in zip((100, 200, 300), values, strict=True)
    ]
    collected.write_csv(tmp_path / "accuracy.csv", fashion.HEADER, rows)
    fashion.draw(tmp_path, tmp_path)
    lines = [x for x in (tmp_path / "table.md").read_text().splitlines() if x.startswith("|")][2:]
    return [[cell.strip() for cell in line.split("|")[2:-1]] for line in lines]


def test_the_table_says_what_the_records_say(tmp_path):
    rows = drawn(
        tmp_path,
        {
            "mnist_baseline": ((0.7, 0.8, 0.81), (0.7, 0.8, 0.83)),
            "mnist_bn": ((0.8, 0.84, 0.82), (0.8, 0.84, 0.84)),
        },
    )
    assert rows == [
        ["200 ± 0", "100 ± 0", "2.00 (2.00 to 2.00) times fewer"],
        ["82.00 ± 12.71", "84.00 ± 0.00", "+2.00 ± 12.71"],
        ["300 ± 0", "200 ± 0", "-100 ± 0"],
        ["82.00 ± 12.71", "83.00 ± 12.71", "+1.00 ± 0.00"],
        ["82.00 ± 12.71", "85.00 ± 0.00", "+3.00 ± 12.71"],
        ["0.250 ± 0.635", "0.250 ± 0.635", "+0.000 ± 0.000"],
    ]


def test_a_level_that_a_seed_does_not_reach_is_never(tmp_path):
    rows = drawn(
        tmp_path,
        {
            "mnist_baseline": ((0.1, 0.1, 0.1), (0.8, 0.8, 0.8)),
            "mnist_bn": ((0.8, 0.8, 0.8), (0.8, 0.8, 0.8)),
        },
    )
    assert rows[0] == ["never, in some seeds", "100 ± 0", "-"]


@pytest.mark.parametrize("network", fashion.NETWORKS)
def test_the_records_are_those_of_the_runs(undisturbed, tmp_path, network):
    run = undisturbed(f"experiment={network}", "seed=0")
    fashion.collect([run], tmp_path)
    lines = read_lines(run.path / "metrics.jsonl")
    (seeds,) = fashion.read(tmp_path).values()
    assert seeds.steps.tolist() == [60, 120]
    assert seeds.accuracy[0].tolist() == [x["test/accuracy"] for x in lines if "test/accuracy" in x]
    last = lines[-1]
    assert seeds.final == [last.get("test/accuracy_population", last["test/accuracy"])]
    losses = [x["train/loss"] for x in lines if "train/loss" in x]  # every 20 steps
    assert seeds.loss[0].tolist() == pytest.approx([fmean(losses[:3]), fmean(losses[3:])], abs=1e-6)
