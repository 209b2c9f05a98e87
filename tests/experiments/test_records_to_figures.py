"""From run directories to results/, and from results/ to figures, tables and the README."""

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from bn.errors import UserError
from experiments import collected, fair_comparison, figure1, style
from experiments.drawing import differences, make, page_with_tables
from tests.experiments.conftest import cells_of


@pytest.fixture(scope="module")
def figure1_results(tmp_path_factory, undisturbed) -> Path:
    """results/ of four short runs: two networks, two seeds."""
    results = tmp_path_factory.mktemp("results")
    runs = [undisturbed(f"experiment={n}", f"seed={s}") for n in figure1.NETWORKS for s in (0, 1)]
    figure1.collect(runs, results / "figure1")
    return results


@pytest.mark.slow
def test_collected_numbers_are_those_of_the_runs(figure1_results, undisturbed) -> None:
    folder = figure1_results / "figure1"
    run = undisturbed("experiment=mnist_bn", "seed=1")
    lines = [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]
    rows = collected.read_csv(folder / "accuracy.csv")
    found = [
        (int(r["step"]), float(r["test_accuracy"]))
        for r in rows
        if (r["network"], r["seed"]) == ("mnist_bn", "1")
    ]
    assert found == [(line["step"], line["test/accuracy"]) for line in lines if "test/accuracy" in line]
    final = {(r["network"], r["seed"]): r for r in collected.read_csv(folder / "final.csv")}
    assert float(final["mnist_bn", "1"]["test_accuracy_population"]) == lines[-1]["test/accuracy_population"]
    assert final["mnist_baseline", "0"]["test_accuracy_population"] == ""

    with np.load(run.activations) as record:
        steps, paths = figure1.read_percentiles(folder)["mnist_bn"]
        assert steps.tolist() == record["steps"].tolist()
        np.testing.assert_allclose(paths[1], record["layer3"], atol=5.1e-5)  # kept to four digits


def test_every_number_is_traced_to_its_run(figure1_results) -> None:
    document = json.loads((figure1_results / "figure1" / "runs.json").read_text())
    assert [(run["config"]["experiment"], run["config"]["seed"]) for run in document["runs"]] == [
        ("mnist_baseline", 0), ("mnist_baseline", 1), ("mnist_bn", 0), ("mnist_bn", 1),
    ]  # fmt: skip
    assert document["config"]["optim.lr"] == 0.1
    for run in document["runs"]:
        assert run["state"] == "done"
        assert {"commit", "dirty", "torch", "python", "device", "command", "wall_s"} <= run.keys()


@pytest.mark.parametrize("experiment", [figure1, fair_comparison])
def test_figures_on_mnist_need_all_their_runs(undisturbed, planned, tmp_path, experiment) -> None:
    runs = [undisturbed("experiment=mnist_bn", "seed=0"), planned("experiment=mnist_bn", "seed=1")]
    with pytest.raises(UserError, match="seed_1: absent, not finished"):
        experiment.collect(runs, tmp_path)


@pytest.mark.slow
def test_drawing_figure1_gives_the_same_bytes(figure1_results) -> None:
    make("figure1", figure1, figure1_results)
    assert differences("figure1", figure1, figure1_results) == []
    made = {path.name for path in (figure1_results / "figure1").glob("figure1*")}
    stems = ("figure1", "figure1_all_units")
    assert made == {f"{stem}.{kind}" for stem in stems for kind in ("png", "svg", "pdf")}


def a_small_experiment() -> ModuleType:
    """Draw a line through the numbers of record.csv, and write their sum as a table."""

    def draw(folder: Path, out: Path) -> None:
        values = [float(row["value"]) for row in collected.read_csv(folder / "record.csv")]
        fig, axis = style.figure(2, 1)
        axis.plot(values)
        style.save(fig, out / "line")
        (out / "table.md").write_text(f"{sum(values)}\n")

    module = ModuleType("small")
    module.draw = draw  # type: ignore[attr-defined]
    return module


@pytest.fixture
def small(tmp_path) -> tuple[Path, Callable[[], list[str]]]:
    """The folder of a small drawn experiment, and a function that lists its differences."""
    folder = tmp_path / "small"
    collected.write_csv(folder / "record.csv", ("value",), [(1,), (3,), (2,)])
    make("small", a_small_experiment(), tmp_path)
    return folder, lambda: [
        line.removeprefix(f"{folder}/") for line in differences("small", a_small_experiment(), tmp_path)
    ]


def test_check_is_clean_after_drawing(small) -> None:
    assert small[1]() == []


def test_check_sees_a_changed_record(small) -> None:
    folder, wrong = small
    record = folder / "record.csv"
    record.write_text(record.read_text().replace("3", "3.5"))
    assert wrong() == [
        f"{folder}: the records are not the ones the figures were drawn from",
        *(
            f"{name}: does not follow from the records"
            for name in ("line.pdf", "line.png", "line.svg", "table.md")
        ),
    ]


@pytest.mark.parametrize("name", ["line.png", "line.svg", "line.pdf", "table.md"])
def test_check_sees_a_changed_figure_or_table(small, name) -> None:
    folder, wrong = small
    (folder / name).write_bytes((folder / name).read_bytes() + b" ")
    assert wrong() == [f"{name}: does not follow from the records"]
    (folder / name).unlink()
    assert wrong() == [f"{name}: missing"]


def test_another_matplotlib_is_no_difference_but_another_figure_is(small, monkeypatch) -> None:
    folder, wrong = small
    monkeypatch.setattr("experiments.drawing.drawn_with", lambda: "matplotlib 99, Linux")
    monkeypatch.setitem(style.RC, "lines.linewidth", 3.0)  # what another version may do: other bytes
    assert wrong() == []
    (folder / "line.pdf").write_bytes((folder / "line.pdf").read_bytes() + b" ")
    assert wrong() == ["line.pdf: is not the figure drawn from the records"]


def test_the_figure1_table_says_what_the_records_say(tmp_path) -> None:
    """Two synthetic seeds whose numbers can be checked by hand."""
    folder = tmp_path / "figure1"
    steps = (100, 200, 300)
    accuracy = {
        "mnist_baseline": ((0.5, 0.91, 0.96), (0.5, 0.8, 0.95)),
        "mnist_bn": ((0.9, 0.95, 0.97), (0.92, 0.96, 0.99)),
    }
    rows = [
        (n, s, step, v)
        for n, seeds in accuracy.items()
        for s, values in enumerate(seeds)
        for step, v in zip(steps, values, strict=True)
    ]
    collected.write_csv(folder / "accuracy.csv", ("network", "seed", "step", "test_accuracy"), rows)
    # Two units whose medians and 85th percentiles move by 2 and 6 (without), 0 and 2 (with), half of that
    # after step 2,500; the 15th do not move.
    move = {"mnist_baseline": (1.0, 3.0), "mnist_bn": (0.0, 1.0)}
    rows = [
        (n, s, step, unit, -1, way * far, 1 + way * far)
        for n, moves in move.items() for s in (0, 1) for step, way in ((0, 0), (2500, 2), (5000, 1))
        for unit, far in enumerate(moves)
    ]  # fmt: skip
    collected.write_csv(
        folder / "percentiles.csv", ("network", "seed", "step", "unit", "p15", "p50", "p85"), rows
    )
    rows = [
        ("mnist_baseline", 0, 300, 0.96, ""), ("mnist_baseline", 1, 300, 0.95, ""),
        ("mnist_bn", 0, 300, 0.97, 0.98), ("mnist_bn", 1, 300, 0.99, 0.98),
    ]  # fmt: skip
    header = ("network", "seed", "step", "test_accuracy", "test_accuracy_population")
    collected.write_csv(folder / "final.csv", header, rows)

    figure1.draw(folder, folder)
    cells = [
        [cell.strip() for cell in line.split("|")[3:5]]
        for line in (folder / "table.md").read_text().splitlines()[2:12]
    ]
    assert cells == [
        ["232 ± 439", "100 ± 0"],  # 100 + 40 / 41 * 100 and 200 + 10 / 15 * 100; 12.706 * half their distance
        ["290 ± 127", "187 ± 159"],
        ["-", "2.32 ± 4.39"],  # 197.6 / 100 and 266.7 / 100
        ["-", "1.56 ± 2.00"],  # 280 / 200 and 300 / 175
        ["95.50 ± 6.35", "98.00 ± 12.71"],
        ["-", "98.00 ± 0.00"],
        ["4.00 ± 0.00", "1.00 ± 0.00"],  # the medians
        ["2.00 ± 0.00", "0.50 ± 0.00"],
        ["2.00 ± 0.00", "0.50 ± 0.00"],  # the outer two
        ["1.00 ± 0.00", "0.25 ± 0.00"],
    ]  # fmt: skip


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


def test_mean_and_interval_against_a_known_case() -> None:
    mean, interval = collected.mean_and_interval([1.0, 2.0, 3.0, 4.0, 5.0])
    assert mean == 3.0
    assert interval == pytest.approx(2.776445 * (2.5 / 5) ** 0.5)
    assert np.isnan(collected.mean_and_interval([1.0])[1])


def test_tables_of_a_page_are_filled_from_results(tmp_path) -> None:
    (tmp_path / "results" / "a").mkdir(parents=True)
    (tmp_path / "results" / "a" / "t.md").write_text("| new |\n")
    readme = tmp_path / "README.md"
    readme.write_text("x\n<!-- begin results/a/t.md -->\nold\n<!-- end -->\ny\n")
    now, wanted = page_with_tables(readme, tmp_path / "results")
    assert now != wanted
    assert wanted == "x\n<!-- begin results/a/t.md -->\n| new |\n<!-- end -->\ny\n"
    (tmp_path / "results" / "a" / "t.md").unlink()
    with pytest.raises(UserError, match=r"names results/a/t\.md, which is missing"):
        page_with_tables(readme, tmp_path / "results")
