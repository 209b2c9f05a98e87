"""The table of Figure 5: the paper's numbers and ours in one row each."""

import pytest

from experiments import figure5
from experiments.drawing import RESULTS, differences, has_records, make


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    out = tmp_path_factory.mktemp("figure5")
    figure5.draw(out / "no records", out)
    assert [path.name for path in out.iterdir()] == ["table.md"]
    lines = (out / "table.md").read_text().splitlines()
    return {
        line.split(" | ")[0].strip("| "): [cell.strip("| ") for cell in line.split(" | ")] for line in lines
    }


def test_a_row_has_the_papers_numbers_and_the_counted_ones(table):
    """4b: (576 + 64 * 9 and so on) by hand."""
    weights = 576 * (192 + 96 + 96 + 128) + 9 * (96 * 128 + 96 * 128 + 128 * 128)
    pairs = 2 * (192 + 96 + 128 + 96 + 128 + 128 + 128)
    assert table["inception (4b)"] == [
        "inception (4b)", "", "14x14x576", "14x14x576", "192", "96", "128", "96", "128", "avg + 128",
        f"{weights + pairs:,}", f"{weights * 14**2 / 1e6:.1f}",
    ]  # fmt: skip


def test_rows_are_read_as_in_the_paper(table):
    assert table["convolution*"][1:4] == ["7x7/2", "112x112x64", "112x112x64"]
    assert table["convolution"][4:7] == ["", "64", "192"]
    assert table["inception (4d)"][9] == "avg + 128 (built: 96)"
    assert table["inception (4e)"][1:5] == ["stride 2", "14x14x1024", "7x7x1024 (after the stride)", "0"]
    assert table["inception (4e)"][9] == "max + pass through"
    assert table["inception (5b)"][9] == "max + 128"
    assert table["**all**"][-2:] == ["**11,188,288**", "**1,934.9**"]


def test_what_the_paper_says_of_the_whole_stands_beside_what_is_counted(table):
    assert table["parameters (section 4.2)"][1:] == ["13.6M", "11.2M"]
    assert table["parameters against GoogLeNet's 6.80M"][1:] == ["+25%", "+65%"]
    assert table["multiply-adds against GoogLeNet's 1,502M"][1:] == ["+30%", "+29%"]
    channels = table["channels of 4c, 4d and 4e with the printed pool projections, 128"]
    assert channels[1:] == ["576, 576, 1024", "608, 608, 1056; with 96, as printed"]


@pytest.mark.slow
def test_an_experiment_without_records_is_drawn_and_checked(tmp_path):
    assert has_records("figure5", figure5, tmp_path)
    make("figure5", figure5, tmp_path)
    assert differences("figure5", figure5, tmp_path) == []
    drawn = tmp_path / "figure5" / "table.md"
    drawn.write_text(drawn.read_text().replace("1,934.9", "1,900.0"))
    assert differences("figure5", figure5, tmp_path) == [f"{drawn}: does not follow from the records"]


def test_the_committed_table_is_what_the_code_gives():
    assert differences("figure5", figure5, RESULTS) == []
