"""Learning rates chosen on held-out examples, further seeds, tables and rules, from synthetic records."""

import json
from pathlib import Path

import pytest

from bn.errors import UserError
from experiments import batch_size, claims, groups, optimizers, selection, what_came_after
from tests.experiments.conftest import cells_of

NUMBERS = (
    "validation_accuracy",
    "test_accuracy",
    "validation_accuracy_population",
    "test_accuracy_population",
)


def write(path: Path, names, rows, extra=()):
    """Write rows of (case, rate, seed, validation, test, *extra)."""
    from experiments.collected import write_csv

    lines = [
        (
            *case,
            rate,
            seed,
            "diverged" if test is None else "done",
            50,
            *(("", "", "", "") if test is None else (validation, test - 0.01, validation, test)),
            *more,
        )
        for case, rate, seed, validation, test, *more in rows
    ]
    write_csv(path, (*names, "rate", "seed", "state", "steps", *NUMBERS, *extra), lines)


def test_the_rate_is_chosen_on_the_held_out_examples_alone(tmp_path):
    rows = [(("a",), 0.1, 0, 0.95, 0.5), (("a",), 1, 0, 0.96, 0.4), (("a",), 10, 0, 0.94, 0.9)]
    write(tmp_path / "final.csv", ("name",), [*rows, (("b",), 1, 0, None, None), (("b",), 3, 0, 0.2, 0.2)])
    grid = selection.read(tmp_path / "final.csv", ("name",))
    assert [selection.best(cells) for cells in grid.values()] == [1, 3]
    assert selection.rate_text(grid["a",]) == "1"
    assert selection.rate_text(grid["b",]) == "3 (at the edge)"
    (lost,) = grid["b",][1]
    assert (lost.diverged, lost.test, lost.validation) == (True, 0.1, 0.1)  # chance
    (run,) = grid["a",][0.1]
    assert (run.test, run.test_moving) == (0.5, 0.49)


def test_of_equal_rates_the_lower_one_is_chosen():
    same = selection.Run(0, False, 0.9, 0.9, 0.9, {})
    assert selection.best({3.0: [same], 1.0: [same]}) == 1.0


def test_further_seeds_at_another_rate_are_refused(tmp_path):
    write(tmp_path / "final.csv", ("name",), [(("a",), 1, 0, 0.9, 0.9), (("a",), 2, 0, 0.8, 0.9)])
    write(tmp_path / "further_seeds.csv", ("name",), [(("a",), 2, 1, 0.9, 0.9)])
    grid = selection.read(tmp_path / "final.csv", ("name",))
    with pytest.raises(UserError, match=r"further_seeds\.csv: does not have the rates chosen from the grid"):
        selection.read_further(tmp_path, ("name",), grid)


def test_gains_are_those_of_the_same_seeds():
    runs, other = (
        [selection.Run(seed, False, 0, value, 0, {}) for seed, value in zip(seeds, values, strict=True)]
        for seeds, values in (((1, 2), (0.9, 0.8)), ((1, 2), (0.7, 0.75)))
    )
    assert selection.gains(runs, other) == pytest.approx([20, 5])
    with pytest.raises(UserError, match="not the same"):
        selection.gains(runs, other[::-1])


def test_what_runs_left_is_what_is_written(trained, tmp_path):
    overrides = ("optim=momentum", "observe=[percentiles,population_gap]", "data.validation=10000")
    run = trained("experiment=mnist_bn", *overrides)
    last = json.loads((run.path / "metrics.jsonl").read_text().splitlines()[-1])
    path = tmp_path / "final.csv"
    selection.write([run], path, optimizers.COLUMNS, optimizers.case_of, batch_size.GAP)
    grid = selection.read(path, optimizers.COLUMNS)
    assert list(grid) == [("mnist_bn", "momentum")]
    ((rate, (found,)),) = grid["mnist_bn", "momentum"].items()
    assert rate == 0.01
    assert found.seed == 0
    assert found.validation == last["validation/accuracy_population"]
    assert found.test == last["test/accuracy_population"]
    assert found.test_moving == last["test/accuracy"]
    assert found.extra == {
        "probabilities": last["observe/population_gap/probabilities"],
        "classes": last["observe/population_gap/classes"],
    }


def records_of_optimizers(folder: Path, adam=0.98):
    """Two learning rates, of which the second is chosen; five further seeds."""
    cases = [(network, optimizer) for network in optimizers.NETWORKS for optimizer in optimizers.OPTIMIZERS]
    smallest = optimizers.SMALLEST
    grid = [
        (case, smallest[case[1]] * factor, 0, 0.9 + 0.01 * (factor == 3), 0.5)
        for case in cases
        for factor in (1, 3)
    ]
    further = [
        (
            case,
            smallest[case[1]] * 3,
            seed,
            0.9,
            0.9 if case[0] == "mnist_baseline" else adam if case[1] == "adam" else 0.96 + 0.001 * seed,
        )
        for case in cases
        for seed in (1, 2, 3, 4, 5)
    ]
    write(folder / "final.csv", optimizers.COLUMNS, grid)
    write(folder / "further_seeds.csv", optimizers.COLUMNS, further)


def test_the_table_of_optimizers(tmp_path):
    records_of_optimizers(tmp_path)
    optimizers.draw(tmp_path, tmp_path)
    # 96.1, ..., 96.5: 2.776 x 0.158 / sqrt(5)
    assert cells_of(tmp_path)["SGD"] == [
        "0.3 (at the edge)", "90.00 ± 0.00", "0.3 (at the edge)", "96.30 ± 0.20", "+6.30 ± 0.20",
    ]  # fmt: skip
    assert optimizers.further_sweeps(tmp_path)[3] == (
        "optimizers_chosen", ("experiment=mnist_baseline", "optim=adam", "optim.lr_factor=3"),
    )  # fmt: skip


def test_the_table_of_what_came_after(tmp_path):
    values = {"layer": (0.95, 0.97), "group": (0.9, 0.99), "none": (0.94, 0.94), "batch": (0.96, 0.96)}
    grid = [((norm,), rate, 0, 0.9 - rate / 100, 0.5) for norm in values for rate in (1, 3, 10)]
    further = [
        ((norm,), 1, seed, 0.9, value)
        for norm, pair in values.items()
        for seed, value in zip((1, 2), pair, strict=True)
    ]
    write(tmp_path / "final.csv", ("norm",), grid)
    write(tmp_path / "further_seeds.csv", ("norm",), further)
    what_came_after.draw(tmp_path, tmp_path)
    rows = cells_of(tmp_path)
    assert rows["batch normalization"] == ["1 (at the edge)", "96.00 ± 0.00", "-"]
    assert rows["none"][-1] == "-2.00 ± 0.00"
    assert rows["group normalization, 10 groups"][1:] == ["90.00, 99.00", "-6.00, +3.00"]
    assert [axes for _, axes in what_came_after.further_sweeps(tmp_path)] == [
        ("model.norm=layer", "optim.lr_factor=10"),
        ("model.norm=group", "optim.lr_factor=10"),
        ("experiment=mnist_baseline", "optim=sgd", "optim.lr_factor=10"),
        ("experiment=mnist_bn", "optim=sgd", "optim.lr_factor=10"),
    ]


def records_of_sizes(folder: Path, smallest=0.98):
    """Sizes with one learning rate and two seeds."""
    extra = ("probabilities", "classes")
    tests = {size: smallest if size == 2 else 0.97 for size in batch_size.SIZES}
    grid = [((size,), 0.5, 0, 0.9, test, 0.3, 0.1) for size, test in tests.items()]
    further = [
        ((size,), 0.5, seed, 0.9, test, 0.2 * seed, 0.1) for size, test in tests.items() for seed in (1, 2)
    ]
    write(folder / "final.csv", ("size",), grid, extra)
    write(folder / "further_seeds.csv", ("size",), further, extra)


def test_the_table_of_the_sizes(tmp_path):
    records_of_sizes(tmp_path)
    batch_size.draw(tmp_path, tmp_path)
    row = cells_of(tmp_path)["1,000"]
    assert row[:4] == ["210", "0.5", "97.00 ± 0.00", "96.00 ± 0.00"]
    assert row[4:] == ["0.3000 ± 1.2706", "10.00 ± 0.00"]  # 0.2 and 0.4: 12.706 times half their distance
    assert batch_size.further_sweeps(tmp_path)[0] == ("batch_size_2", ("optim.lr=0.5", "seed=1,2,3,4,5"))


def test_the_table_of_the_groups(tmp_path):
    records_of_sizes(tmp_path / "batch_size")
    cases = [(str(size), str(group)) for size, sizes in groups.GROUPS.items() for group in sizes]
    extra = ("probabilities", "classes")
    folder = tmp_path / "groups"
    write(folder / "final.csv", groups.COLUMNS, [(case, 1, 0, 0.9, 0.9, 0.3, 0.1) for case in cases], extra)
    further = [(case, 1, seed, 0.9, 0.96 - 0.01 * seed, 0.25, 0.1) for case in cases for seed in (1, 2)]
    write(folder / "further_seeds.csv", groups.COLUMNS, further, extra)
    groups.draw(folder, folder)
    lines = [line for line in (folder / "table.md").read_text().splitlines() if line.startswith("|")]
    assert len(lines) == 2 + len(cases)
    row = [cell.strip() for cell in lines[-1].split("|")[1:-1]]
    assert row[:3] == ["1,000", "250", "1"]
    # 95 and 94 against 97; 12.706 times half their distance
    assert row[3:6] == ["94.50 ± 6.35", "-2.50 ± 6.35", "0.2500 ± 0.0000"]
    assert row[6:8] == ["0.3000 ± 1.2706"] * 2  # as `records_of_sizes` has them
    assert groups.further_sweeps(folder)[1] == (
        "groups_60", ("model.norm_group=10", "optim.lr=1", "seed=1,2,3,4,5"),
    )  # fmt: skip


def judged(number: int, results: Path) -> str:
    claim = next(claim for claim in claims.read_claims() if claim["number"] == number)
    return claims.judge(claim, results).verdict


@pytest.mark.parametrize(
    ("adam", "smallest", "verdict"),
    [
        (0.98, 0.98, "confirmed"),
        (0.94, 0.98, "partly"),
        (0.98, 0.91, "partly"),
        (0.89, 0.98, "not confirmed"),
    ],
)
def test_the_rule_of_claim_23(tmp_path, adam, smallest, verdict):
    records_of_optimizers(tmp_path / "optimizers", adam)
    assert judged(23, tmp_path) == "open"
    records_of_sizes(tmp_path / "batch_size", smallest)
    assert judged(23, tmp_path) == verdict
