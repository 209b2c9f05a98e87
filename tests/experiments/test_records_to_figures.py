"""From run directories to results/, and from results/ to figures, tables and the README."""

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from bn.errors import UserError
from experiments import collected, fair_comparison, figure1, style
from experiments.drawing import differences, make, page_with_tables


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
        ["-", "2.30 (0.34 to 15.4)"],  # 197.6 / 100 and 266.7 / 100; the interval is on the logarithms
        ["-", "1.55 (0.43 to 5.61)"],  # 280 / 200 and 300 / 175
        ["95.50 ± 6.35", "98.00 ± 12.71"],
        ["-", "98.00 ± 0.00"],
        ["4.00 ± 0.00", "1.00 ± 0.00"],  # the medians
        ["2.00 ± 0.00", "0.50 ± 0.00"],
        ["2.00 ± 0.00", "0.50 ± 0.00"],  # the outer two
        ["1.00 ± 0.00", "0.25 ± 0.00"],
    ]  # fmt: skip


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
