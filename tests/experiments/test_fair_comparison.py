"""The fair comparison: the settings that are chosen from the grid, and what further seeds say of them."""

from collections.abc import Callable, Iterable, Sequence

import pytest

from bn.errors import UserError
from experiments import collected, fair_comparison
from tests.experiments.conftest import cells_of


def rows_of(network: str, std: float, lr: float, tests: Sequence[float], seeds: Iterable[int], held_out=0.9):
    """Rows of final.csv for seeds with these test accuracies."""
    return [
        (network, std, lr, seed, "done", 50, held_out, test, "", "")
        for seed, test in zip(seeds, tests, strict=True)
    ]


def test_the_rate_is_chosen_on_validation_and_not_on_test(tmp_path) -> None:
    rows = []
    for network in fair_comparison.NETWORKS:
        for std in (0.01, 0.1):
            for lr, validation, test in ((0.1, 0.95, 0.93), (1.0, 0.97, 0.94), (10.0, 0.96, 0.99)):
                for seed in (0, 1, 2):
                    tilt = 0.001 * (seed - 1) + (0.005 if std == 0.1 else 0)
                    state = "diverged" if (network, lr) == ("mnist_baseline", 10.0) else "done"
                    population = validation + tilt if network == "mnist_bn" else ""
                    last = test + tilt if network == "mnist_bn" else ""
                    rows.append(
                        (network, std, lr, seed, state, 50, validation + tilt, test + tilt, population, last)
                    )
    collected.write_csv(tmp_path / "final.csv", fair_comparison.HEADER, rows)
    grid = fair_comparison.read_grid(tmp_path)
    for network in fair_comparison.NETWORKS:
        assert fair_comparison.best(grid[network]) == (0.1, 1.0)
        assert fair_comparison.best(grid[network], 0.01) == (0.01, 1.0)
    assert grid["mnist_baseline"][0.1, 10.0].test == [0.1] * 3  # diverged: chance
    assert fair_comparison.further_sweeps(tmp_path) == [
        ("fair_comparison_chosen", (f"experiment={network}", "optim.lr=1", "model.init_std=0.1"))
        for network in fair_comparison.NETWORKS
    ]


@pytest.fixture
def compared(tmp_path) -> Callable[..., dict[str, list[str]]]:
    """`compared(tests, further)`: the cells of table.md and grid.md by the name of their row.

    The grid has two learning rates; at 10 the plain network has `tests`. `further`: its further seeds.
    """

    def drawn(tests: Sequence[float], further: Sequence[float], lr: float = 0.1) -> dict[str, list[str]]:
        plain, with_bn = fair_comparison.NETWORKS
        grid = [
            *rows_of(plain, 0.1, 0.1, (0.95, 0.96, 0.97), range(3), held_out=0.95),
            *rows_of(plain, 0.1, 10.0, tests, range(3)),
            *rows_of(with_bn, 0.1, 0.1, (0.97, 0.97, 0.97), range(3), held_out=0.95),
            *rows_of(with_bn, 0.1, 10.0, (0.96, 0.96, 0.96), range(3)),
            *rows_of(plain, 0.01, 0.1, (0.5, 0.5, 0.5), range(3)),
            *rows_of(plain, 0.01, 10.0, (0.5, 0.5, 0.5), range(3)),
            *rows_of(with_bn, 0.01, 0.1, (0.5, 0.5, 0.5), range(3)),
            *rows_of(with_bn, 0.01, 10.0, (0.5, 0.5, 0.5), range(3)),
        ]
        more = [
            *rows_of(plain, 0.1, lr, further, (3, 4)), *rows_of(with_bn, 0.1, lr, (0.98, 0.98), (3, 4))
        ]  # fmt: skip
        collected.write_csv(tmp_path / "final.csv", fair_comparison.HEADER, grid)
        collected.write_csv(tmp_path / "further_seeds.csv", fair_comparison.HEADER, more)
        fair_comparison.draw(tmp_path, tmp_path)
        return {**cells_of(tmp_path), **cells_of(tmp_path, "grid.md")}

    return drawn


def test_the_further_seeds_measure_the_chosen_settings_and_nothing_else(compared) -> None:
    table = compared((0.9, 0.9, 0.9), (0.97, 0.96))
    where = " (lr 0.1, std 0.1)"
    assert table["both at learning rate 0.1, std 0.1 (Figure 1)"] == [
        "3", "96.00 ± 2.48", "97.00 ± 0.00", "+1.00 ± 2.48"
    ]  # fmt: skip
    assert table["each at its best learning rate and std"] == [
        "5", f"96.20 ± 1.04{where}", f"97.40 ± 0.68{where}", "+1.20 ± 1.04"  # gains 2, 1, 0, 1, 2
    ]  # fmt: skip
    assert table["the same, without the seeds of the choice"] == [
        "2", f"96.50 ± 6.35{where}", f"98.00 ± 0.00{where}", "+1.50 ± 6.35"
    ]  # fmt: skip


def test_further_seeds_of_another_setting_are_refused(compared) -> None:
    with pytest.raises(
        UserError, match=r"further_seeds\.csv: does not have the settings chosen from the grid"
    ):
        compared((0.9, 0.9, 0.9), (0.97, 0.96), lr=10.0)


@pytest.mark.parametrize(
    ("tests", "cell"),
    [
        ((0.0958, 0.0958, 0.9588), "9.58, 9.58, 95.88"),
        ((0.8997, 0.9652, 0.9618), "89.97, 96.52, 96.18"),
        ((0.0958, 0.0958, 0.098), "9.65 ± 0.32"),  # all failed
        ((0.93, 0.98, 0.95), "95.33 ± 6.25"),  # five points, and no more
    ],
)
def test_seeds_of_which_some_fail_are_listed(compared, tests, cell) -> None:
    assert compared(tests, (0.97, 0.96))["10"][1] == cell


def test_a_gain_over_seeds_of_which_some_fail_is_listed(compared) -> None:
    row = compared((0.9, 0.9, 0.9), (0.1, 0.97))["the same, without the seeds of the choice"]
    assert row[1:] == [
        "10.00, 97.00 (lr 0.1, std 0.1)",
        "98.00 ± 0.00 (lr 0.1, std 0.1)",
        "+88.00, +1.00",
    ]
